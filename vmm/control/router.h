// SPDX-License-Identifier: Apache-2.0
// Router: from a request to what is done about it. docs/control.openapi.json describes the routes, and a
// test holds the two against each other. Control thread.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "vmm/control/http.h"
#include "vmm/control/target.h"

namespace uvmm::control {

// What a request leads to.
struct Reply {
  enum class Then : std::uint8_t {
    kAnswer,        // the response, now
    kAwaitEnd,      // a response once the VM has come to its end
    kStreamEvents,  // the response's head, then events after number `seen` for as long as both ends live
    kConsole,       // the response's head, then the connection is the console's
  };
  Then then = Then::kAnswer;
  Response response;
  std::uint64_t seen = 0;
};

struct RouteName {
  std::string_view method;
  std::string_view path;  // with "{id}" for a name that may vary
};

class Router {
 public:
  explicit Router(Target& target) : target_(target) {}

  Reply handle(const Request& request);
  // What follows Reply::Then::kConsole. A client for whom there is no room is hung up on.
  void attach_console(Fd client) { (void)target_.attach_console(std::move(client)); }

  static std::span<const RouteName> routes();

 private:
  Target& target_;
};

// docs/control.openapi.json
std::string_view openapi();

// What a request that waits for the VM's end is answered.
Response ended_response(std::string_view reason, int exit_status);

}  // namespace uvmm::control
