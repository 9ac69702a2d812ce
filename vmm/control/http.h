// SPDX-License-Identifier: Apache-2.0
// HTTP/1.1 without sockets: bytes to requests and responses, and back. http.cpp is the one place that knows
// Boost.Beast, whose parsers do the work. Each object belongs to one thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace uvmm::control {

inline constexpr std::uint32_t kMostHeaderBytes = 8 << 10;
inline constexpr std::uint64_t kMostBodyBytes = 16 << 10;

struct Request {
  std::string method;
  std::string path;                          // what is before the `?`
  std::map<std::string, std::string> query;  // as written: nothing here needs an escape
  std::string body;
  bool accepts_json = false;  // the Accept field prefers JSON
  bool wants_upgrade = false;
  bool keep_alive = true;
};

struct Response {
  unsigned status = 200;
  std::string content_type = "application/json";
  std::string body;
  std::vector<std::pair<std::string, std::string>> fields{};  // further header fields
};

// RFC 9457. `hint` and `field` may be empty.
Response problem(unsigned status, std::string_view detail, std::string_view hint = {},
                 std::string_view field = {});

std::string_view reason_phrase(unsigned status);

// The bytes of a response with its body, and of the head of one whose body lasts until the connection ends.
std::string serialise(const Response& response, bool keep_alive);
std::string serialise_head(const Response& response);

// Takes requests out of a connection's bytes, one after another.
class RequestParser {
 public:
  RequestParser();
  ~RequestParser();
  RequestParser(RequestParser&&) noexcept;
  RequestParser& operator=(RequestParser&&) = delete;

  // Consumes from the front of `bytes` what belongs to the next request; says how much. Once it is whole, or
  // broken, nothing more is consumed until take().
  std::size_t feed(std::string_view bytes);

  bool done() const;
  bool started() const;  // some of a request has come
  // What to answer instead, if what came is no request.
  const std::optional<Response>& refusal() const { return refusal_; }
  // The request, and a fresh start.
  Request take();

 private:
  struct Parser;
  std::unique_ptr<Parser> parser_;
  std::optional<Response> refusal_;
};

// The client's side. The head of a response, and its body as far as it has come.
class ResponseParser {
 public:
  ResponseParser();
  ~ResponseParser();

  // False if this is no HTTP.
  bool feed(std::string_view bytes);
  // The connection has ended, which may be the end of the body.
  void end();

  bool has_head() const;
  bool done() const;
  unsigned status() const;
  // What of the body has come since the last call.
  std::string take_body();
  // Behind the head of a response that switches protocols: the first bytes of the new one.
  std::string take_rest();

 private:
  struct Parser;
  std::unique_ptr<Parser> parser_;
};

}  // namespace uvmm::control
