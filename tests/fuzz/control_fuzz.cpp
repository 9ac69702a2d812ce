// SPDX-License-Identifier: Apache-2.0
// Fuzz target: what a client sends to the control socket. The first byte says in what pieces the others come.
// Whatever they are, each request gets an answer that can be sent, no answer is an error of the server, and a
// refused request has changed nothing.
#include <algorithm>
#include <string>

#include <nlohmann/json.hpp>

#include "tests/fakes/fake_target.h"
#include "tests/fuzz/fuzz.h"
#include "vmm/control/http.h"
#include "vmm/control/router.h"

using namespace uvmm;
using namespace uvmm::control;

namespace {

void check_response(const Response& response, bool keep_alive) {
  require(response.status >= 200 && response.status < 500);
  require(!reason_phrase(response.status).empty());
  require(serialise(response, keep_alive).size() > response.body.size());
  if (response.status < 400) return;
  const nlohmann::json problem = nlohmann::json::parse(response.body, nullptr, false);
  require(problem.is_object() && problem["status"] == response.status && !problem["detail"].empty());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const std::size_t piece = std::max<std::size_t>(data[0], 1);
  std::string_view rest(reinterpret_cast<const char*>(data) + 1, size - 1);
  FakeTarget target;
  Router router(target);
  RequestParser parser;
  std::string input;
  while (!rest.empty() && !parser.refusal()) {
    input += rest.substr(0, piece);
    rest.remove_prefix(std::min(piece, rest.size()));
    for (;;) {
      const std::size_t used = parser.feed(input);
      require(used <= input.size());
      input.erase(0, used);
      require(input.size() <= kMostHeaderBytes + piece || parser.done() || parser.refusal());
      if (!parser.done()) break;
      const Request request = parser.take();
      require(request.body.size() <= kMostBodyBytes);
      const std::size_t calls = target.calls.size();
      const Reply reply = router.handle(request);
      if (reply.then != Reply::Then::kAnswer) continue;
      check_response(reply.response, request.keep_alive);
      require(reply.response.status < 400 || target.calls.size() == calls);
    }
  }
  if (parser.refusal()) check_response(*parser.refusal(), false);
  return 0;
}
