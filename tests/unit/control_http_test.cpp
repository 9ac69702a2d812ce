// SPDX-License-Identifier: Apache-2.0
#include "vmm/control/http.h"

#include <catch2/catch.hpp>
#include <string>

namespace uvmm::control {
namespace {

using Catch::Matchers::Contains;
using Catch::Matchers::EndsWith;
using Catch::Matchers::StartsWith;
using namespace std::string_literals;

// The status that `text` is refused with; 0 if it is not, or not yet.
unsigned refusal(const std::string& text) {
  RequestParser parser;
  std::size_t at = 0;
  while (at < text.size() && !parser.done() && !parser.refusal()) {
    const std::size_t used = parser.feed(std::string_view(text).substr(at));
    if (used == 0) break;
    at += used;
  }
  return parser.refusal() ? parser.refusal()->status : 0;
}

TEST_CASE("control http: a request comes in whatever pieces") {
  const std::string text =
      "PUT /v1/vm/state?wait=true&a HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabcGET /v1/vm "
      "HTTP/1.0\r\n\r\n";
  for (const std::size_t step : {std::size_t{1}, std::size_t{7}, text.size()}) {
    CAPTURE(step);
    RequestParser parser;
    std::string input;
    std::vector<Request> requests;
    for (std::size_t at = 0; at < text.size(); at += step) {
      input += text.substr(at, step);
      do {
        input.erase(0, parser.feed(input));
        if (!parser.done()) break;
        requests.push_back(parser.take());
      } while (true);
    }
    REQUIRE(requests.size() == 2);
    CHECK(requests[0].method == "PUT");
    CHECK(requests[0].path == "/v1/vm/state");
    CHECK(requests[0].query == std::map<std::string, std::string>{{"wait", "true"}, {"a", ""}});
    CHECK(requests[0].body == "abc");
    CHECK(requests[0].keep_alive);
    CHECK(requests[1].path == "/v1/vm");
    CHECK_FALSE(requests[1].keep_alive);
  }
}

TEST_CASE("[case 170] control http: lengths that are none, or too large, are refused") {
  CHECK(refusal("PUT / HTTP/1.1\r\nContent-Length: 9223372036854775808\r\n\r\n") == 413);
  CHECK(refusal("PUT / HTTP/1.1\r\nContent-Length: 18446744073709551616\r\n\r\n") == 400);
  CHECK(refusal("PUT / HTTP/1.1\r\nContent-Length: -1\r\n\r\n") == 400);
  CHECK(refusal("PUT / HTTP/1.1\r\nContent-Length: 16385\r\n\r\n") == 413);
  CHECK(refusal("PUT / HTTP/1.1\r\nContent-Length: 16384\r\n\r\n") == 0);
}

TEST_CASE("[case 170] control http: a body in chunks is refused, whatever they are") {
  const std::string head = "PUT / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n";
  CHECK(refusal(head) == 411);
  CHECK(refusal(head + "2\r\n{}\r\n0\r\n\r\n") == 411);
  CHECK(refusal(head + "ffffffffffffffffff\r\n") == 411);
  // Byte by byte, too: this is what Beast's parser of chunks ends the process for.
  RequestParser parser;
  std::string input;
  for (const char byte : head + "0\r\n{\"tar\r\n=d\r\n") {
    input += byte;
    input.erase(0, parser.feed(input));
  }
  REQUIRE(parser.refusal());
  CHECK(parser.refusal()->status == 411);
}

TEST_CASE("[case 170] control http: a head without an end is refused") {
  CHECK(refusal("GET / HTTP/1.1\r\nX: " + std::string(kMostHeaderBytes, 'a')) == 431);
  CHECK(refusal("GET /" + std::string(kMostHeaderBytes, 'a')) == 431);
  std::string fields = "GET / HTTP/1.1\r\n";
  for (int i = 0; i < 2000; ++i) fields += "a: b\r\n";
  CHECK(refusal(fields) == 431);
}

TEST_CASE("[case 170] control http: what is no HTTP is refused") {
  CHECK(refusal("\0\0\0\0\0\0\0\0"s) == 400);
  CHECK(refusal("GET /\0 HTTP/1.1\r\n\r\n"s) == 400);
  CHECK(refusal("GET / HTTP/1.1\r\na\0b: c\r\n\r\n"s) == 400);
  CHECK(refusal("GET / HTTP/7.0\r\n\r\n") == 400);
  CHECK(refusal("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"s) == 400);  // TLS
}

TEST_CASE("control http: a refused request leaves nothing to take") {
  RequestParser parser;
  parser.feed("nonsense\r\n\r\n");
  CHECK(parser.refusal());
  CHECK_FALSE(parser.done());
  CHECK(parser.feed("GET / HTTP/1.1\r\n\r\n") == 0);
}

TEST_CASE("control http: a response says how long it is, and whether more may be asked") {
  CHECK(serialise({.body = "{}\n"}, true) ==
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nCache-Control: no-store\r\nContent-Length: "
        "3\r\n\r\n{}\n");
  CHECK_THAT(serialise({.status = 404}, false), StartsWith("HTTP/1.1 404 Not Found\r\n"));
  CHECK_THAT(serialise({.status = 404}, false), Contains("\r\nConnection: close\r\n"));
  CHECK_THAT(serialise_head({.content_type = "text/plain"}), EndsWith("Connection: close\r\n\r\n"));
}

TEST_CASE("control http: a problem is RFC 9457's, whatever bytes it quotes") {
  const Response response = problem(400, "no \xff", "a hint", "member");
  CHECK(response.content_type == "application/problem+json");
  CHECK(response.body ==
        "{\"type\":\"about:blank\",\"title\":\"Bad Request\",\"status\":400,\"detail\":\"no \xef\xbf\xbd\","
        "\"hint\":\"a hint\",\"field\":\"member\"}\n");
}

TEST_CASE("control http: a client reads bodies with a length, and those that last") {
  ResponseParser with_length;
  CHECK(with_length.feed("HTTP/1.1 202 Accepted\r\nContent-Le"));
  CHECK(with_length.feed("ngth: 5\r\n\r\nhel"));
  CHECK_FALSE(with_length.done());
  CHECK(with_length.feed("lo"));
  CHECK(with_length.done());
  CHECK(with_length.status() == 202);
  CHECK(with_length.take_body() == "hello");

  ResponseParser lasting;
  CHECK(lasting.feed("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\none\n"));
  CHECK(lasting.take_body() == "one\n");
  CHECK(lasting.feed("two\n"));
  CHECK(lasting.take_body() == "two\n");
  CHECK_FALSE(lasting.done());
  lasting.end();
  CHECK(lasting.done());

  ResponseParser nonsense;
  CHECK_FALSE(nonsense.feed("SSH-2.0-OpenSSH_9.2\r\n"));
}

}  // namespace
}  // namespace uvmm::control
