// SPDX-License-Identifier: Apache-2.0
// Client: a connection to the control socket of a VM. One thread; it waits.
#pragma once

#include <chrono>
#include <functional>
#include <string>
#include <string_view>

#include <uvmm/error.hpp>

#include "vmm/base/fd.h"

namespace uvmm::control {

struct Answer {
  unsigned status = 0;  // 0: the VM ended instead
  std::string body;
};

class Client {
 public:
  // `patience` for each wait, without an end if it is zero.
  static Result<Client> connect(const std::string& path, std::chrono::milliseconds patience = {});

  struct Call {
    std::string_view method = "GET";
    std::string target;
    std::string body{};
    std::string_view accept = "*/*";
    // Told of the body as it comes, which is then not in the answer.
    std::function<void(std::string_view)> on_body{};
  };
  Result<Answer> ask(const Call& call);

  // Asks for the connection to speak `protocol` from now on, which it does after an answer of 101. `first` is
  // what has come of it already.
  Result<Answer> upgrade(const std::string& target, const std::string& protocol, std::string& first);

  int fd() const { return fd_.get(); }
  // Until the server has closed the connection.
  void wait_for_end();

 private:
  Client(Fd fd, std::string path) : fd_(std::move(fd)), path_(std::move(path)) {}
  Result<Answer> exchange(const std::string& request, const std::function<void(std::string_view)>& on_body,
                          std::string* rest);
  Result<void> send(std::string_view bytes);
  // 0 at the end.
  Result<std::size_t> receive(char* buffer, std::size_t size);

  Fd fd_;
  std::string path_;
};

// The Error that an answer of 400 and more stands for.
Error error_of(const Answer& answer);

}  // namespace uvmm::control
