// SPDX-License-Identifier: Apache-2.0
#include "vmm/control/router.h"

#include <catch2/catch.hpp>
#include <set>
#include <string>

#include <nlohmann/json.hpp>

#include "tests/fakes/fake_target.h"

namespace uvmm::control {
namespace {

using nlohmann::json;
using Calls = std::vector<std::string>;

struct Fixture {
  FakeTarget target;
  Router router{target};

  Reply ask(const std::string& method, const std::string& path, const std::string& body = {},
            std::map<std::string, std::string> query = {}) {
    return router.handle({.method = method, .path = path, .query = std::move(query), .body = body});
  }
  Response put_state(const std::string& body) { return ask("PUT", "/v1/vm/state", body).response; }
};

TEST_CASE("control router: the routes are those of the OpenAPI document") {
  const json document = json::parse(openapi());
  std::set<std::pair<std::string, std::string>> documented, served;
  for (const auto& [path, methods] : document["paths"].items()) {
    for (const auto& [method, operation] : methods.items()) {
      std::string name = method;
      for (char& letter : name) letter = static_cast<char>(letter - 'a' + 'A');
      documented.emplace(name, path);
    }
  }
  for (const RouteName& route : Router::routes()) served.emplace(route.method, route.path);
  CHECK(documented == served);
}

TEST_CASE_METHOD(Fixture, "control router: the VM is described with its state") {
  target.current = State::kPaused;
  const json vm = json::parse(ask("GET", "/v1/vm").response.body);
  CHECK(vm["state"] == "paused");
  CHECK(vm["name"] == "fake");
}

TEST_CASE_METHOD(Fixture, "control router: a state is what it is after the request") {
  CHECK(put_state(R"({"state":"paused"})").body == "{\"state\":\"paused\"}\n");
  CHECK(put_state(R"({"state":"running"})").body == "{\"state\":\"running\"}\n");
  CHECK(target.calls == Calls{"pause", "resume"});
}

TEST_CASE_METHOD(Fixture, "[case 172] control router: pausing twice is no error") {
  CHECK(put_state(R"({"state":"paused"})").status == 200);
  CHECK(put_state(R"({"state":"paused"})").status == 200);
  CHECK(target.current == State::kPaused);
}

TEST_CASE_METHOD(Fixture, "[case 172] control router: a paused guest is not asked to power off") {
  target.current = State::kPaused;
  CHECK(put_state(R"({"state":"stopped"})").status == 409);
  CHECK(put_state(R"({"state":"stopped","timeout_s":5})").status == 409);
  CHECK(target.calls.empty());
  CHECK(put_state(R"({"state":"stopped","mode":"force"})").status == 202);
  CHECK(target.calls == Calls{"stop"});
}

TEST_CASE_METHOD(Fixture, "control router: stopping has a mode and a time") {
  CHECK(put_state(R"({"state":"stopped"})").status == 202);
  CHECK(put_state(R"({"state":"stopped","mode":"graceful","timeout_s":1.5})").status == 202);
  CHECK(put_state(R"({"state":"stopped","mode":"force"})").status == 202);
  CHECK(target.calls == Calls{"shut down", "shut down in 1500", "stop"});
}

TEST_CASE_METHOD(Fixture, "control router: who waits for the end is answered then") {
  const std::string body = R"({"state":"stopped"})";
  CHECK(ask("PUT", "/v1/vm/state", body, {{"wait", "true"}}).then == Reply::Then::kAwaitEnd);
  CHECK(ask("PUT", "/v1/vm/state", body, {{"wait", "false"}}).then == Reply::Then::kAnswer);
  CHECK(ask("PUT", "/v1/vm/state", R"({"state":"running"})", {{"wait", "true"}}).then ==
        Reply::Then::kAnswer);
  CHECK(ended_response("power-off", 0).body ==
        "{\"state\":\"stopped\",\"reason\":\"power-off\",\"exit_status\":0}\n");
}

TEST_CASE_METHOD(Fixture, "control router: a reset is one") {
  CHECK(ask("POST", "/v1/vm/reboot").response.status == 202);
  CHECK(target.calls == Calls{"reboot"});
}

TEST_CASE_METHOD(Fixture, "control router: a balloon's size is a number or a size") {
  CHECK(ask("GET", "/v1/balloon").response.body ==
        "{\"target_bytes\":0,\"actual_bytes\":4096,\"guest\":{}}\n");
  target.memory->guest.free_bytes = 8192;
  target.memory->guest.major_faults = 3;
  CHECK_THAT(ask("GET", "/v1/balloon").response.body,
             Catch::Matchers::Contains(R"("guest":{"free_bytes":8192,"major_faults":3})"));
  CHECK(ask("PUT", "/v1/balloon", R"({"target":"1M"})").response.status == 200);
  CHECK(ask("PUT", "/v1/balloon", R"({"target":4096})").response.body ==
        "{\"target_bytes\":4096,\"actual_bytes\":4096,"
        "\"guest\":{\"free_bytes\":8192,\"major_faults\":3}}\n");
  CHECK(target.calls == Calls{"balloon 1048576", "balloon 4096"});
  CHECK(ask("PUT", "/v1/balloon", R"({"target":"513M"})").response.status == 400);
  target.memory.reset();
  CHECK(ask("GET", "/v1/balloon").response.status == 409);
  CHECK(ask("PUT", "/v1/balloon", R"({"target":0})").response.status == 409);
}

TEST_CASE_METHOD(Fixture, "control router: a disk is told its new size") {
  CHECK(ask("PATCH", "/v1/disks/disk0", R"({"resize":true})").response.body ==
        "{\"id\":\"disk0\",\"size_bytes\":4096}\n");
  CHECK(target.calls == Calls{"resize disk"});
  CHECK(ask("PATCH", "/v1/disks/disk1", R"({"resize":true})").response.status == 404);
  target.refuses = Error{ErrorKind::kBusy, "it has less than the guest uses", "it only grows"};
  const Response refused = ask("PATCH", "/v1/disks/disk0", R"({"resize":true})").response;
  CHECK(refused.status == 409);
  CHECK(json::parse(refused.body)["hint"] == "it only grows");
  CHECK(target.calls.size() == 1);
}

TEST_CASE_METHOD(Fixture, "control router: a network's cable is plugged in and pulled out") {
  CHECK(ask("PATCH", "/v1/nets/net0", R"({"link":"down"})").response.body ==
        "{\"id\":\"net0\",\"link\":\"down\"}\n");
  CHECK(ask("PATCH", "/v1/nets/net0", R"({"link":"up"})").response.status == 200);
  CHECK(target.calls == Calls{"unplug net", "plug in net"});
  CHECK(ask("PATCH", "/v1/nets/net1", R"({"link":"up"})").response.status == 404);
}

TEST_CASE_METHOD(Fixture, "[case 171] control router: an id is that of a device, written as it is told") {
  for (const char* const id : {"", "disk", "disk00", "disk+0", "disk-1", "disk 0", "Disk0", "net0", "0",
                               "disk1000", "disk18446744073709551616", "disk0/", "../nets/net0", "{id}"}) {
    CAPTURE(id);
    CHECK(ask("PATCH", std::string("/v1/disks/") + id, R"({"resize":true})").response.status == 404);
  }
  CHECK(ask("PATCH", "/v1/nets/disk0", R"({"link":"up"})").response.status == 404);
  for (const char* const body : {"", "{}", R"({"resize":false})", R"({"resize":1})", R"({"size":4096})"})
    CHECK(ask("PATCH", "/v1/disks/disk0", body).response.status == 400);
  for (const char* const body : {"", "{}", R"({"link":true})", R"({"link":"off"})"})
    CHECK(ask("PATCH", "/v1/nets/net0", body).response.status == 400);
  CHECK(target.calls.empty());
}

TEST_CASE_METHOD(Fixture, "control router: a bus without hot-plug takes no more devices, and says so") {
  for (const char* const path : {"/v1/disks", "/v1/nets", "/v1/shares"}) {
    const Response refused = ask("POST", path, R"({"path":"/a"})").response;
    CHECK(refused.status == 409);
    CHECK_THAT(refused.body, Catch::Matchers::Contains("no hot-plug") && Catch::Matchers::Contains("--disk"));
  }
}

TEST_CASE_METHOD(Fixture, "control router: a console is watched, or with an upgrade used") {
  const Reply watched = ask("GET", "/v1/console");
  CHECK(watched.then == Reply::Then::kConsole);
  CHECK(watched.response.status == 200);
  const Reply used = router.handle({.method = "GET", .path = "/v1/console", .wants_upgrade = true});
  CHECK(used.then == Reply::Then::kConsole);
  CHECK(used.response.status == 101);
  target.console = false;
  CHECK(ask("GET", "/v1/console").response.status == 409);
}

TEST_CASE_METHOD(Fixture, "control router: the log's level is read and set") {
  CHECK(ask("GET", "/v1/log").response.body == "{\"level\":\"warning\"}\n");
  CHECK(ask("PUT", "/v1/log", R"({"level":"debug"})").response.body == "{\"level\":\"debug\"}\n");
  CHECK(target.level == LogLevel::kDebug);
}

TEST_CASE_METHOD(Fixture, "control router: events begin behind a number") {
  const Reply all = ask("GET", "/v1/events");
  CHECK(all.then == Reply::Then::kStreamEvents);
  CHECK(all.seen == 0);
  CHECK(ask("GET", "/v1/events", {}, {{"since", "17"}}).seen == 17);
  for (const char* const since : {"-1", "", "99999999999999999999", "a"}) {
    const Reply refused = ask("GET", "/v1/events", {}, {{"since", since}});
    CHECK(refused.then == Reply::Then::kAnswer);
    CHECK(refused.response.status == 400);
  }
}

TEST_CASE_METHOD(Fixture, "[case 171] control router: what it has not, it says") {
  for (const char* const path :
       {"/", "", "/v1", "/v1/vm/", "/v1//vm", "/v1/disks/../vm", "/v1/vm/../log", "*"}) {
    CAPTURE(path);
    CHECK(ask("GET", path).response.status == 404);
  }
  const Response refused = ask("DELETE", "/v1/balloon").response;
  CHECK(refused.status == 405);
  CHECK(refused.fields == std::vector<std::pair<std::string, std::string>>{{"Allow", "GET, PUT"}});
  CHECK(ask("GET", "/v1/vm", {}, {{"wiat", "true"}}).response.status == 400);
  CHECK(target.calls.empty());
}

TEST_CASE_METHOD(Fixture, "[case 171] control router: a body is right in all of it, or nothing is done") {
  for (const char* const body : {
           "",
           "{",
           "[]",
           "null",
           "7",
           "\"stopped\"",
           "{}",
           R"({"state":7})",
           R"({"state":"Stopped"})",
           R"({"state":["stopped"]})",
           R"({"state":"stopped","mode":"hard"})",
           R"({"state":"stopped","mode":null})",
           R"({"state":"stopped","timeout_s":-1})",
           R"({"state":"stopped","timeout_s":"5"})",
           R"({"state":"stopped","timeout_s":1e9})",
           R"({"state":"stopped","mode":"force","timeout_s":5})",
           R"({"state":"paused","mode":"force"})",
           R"({"state":"running","timeout_s":1})",
           R"({"state":"stopped","mdoe":"force"})",
           R"({"state":"stopped"} {})",
       }) {
    CAPTURE(body);
    CHECK(put_state(body).status == 400);
  }
  CHECK(put_state(std::string(16'000, '[')).status == 400);
  CHECK(ask("PUT", "/v1/vm/state", R"({"state":"paused"})", {{"wait", "yes"}}).response.status == 400);
  for (const char* const target_size :
       {"-1", "1.5", "\"-1\"", "\"1X\"", "true", "1e3", "18446744073709551616"})
    CHECK(ask("PUT", "/v1/balloon", "{\"target\":" + std::string(target_size) + "}").response.status == 400);
  CHECK(ask("PUT", "/v1/log", R"({"level":"loud"})").response.status == 400);
  CHECK(ask("POST", "/v1/vm/reboot", R"({"now":true})").response.status == 400);
  CHECK(target.calls.empty());
}

TEST_CASE_METHOD(Fixture, "control router: a refusal names the member and the remedy") {
  const json refused = json::parse(put_state(R"({"sate":"paused"})").body);
  CHECK(refused["status"] == 400);
  CHECK(refused["field"] == "sate");
  CHECK(refused["hint"] == "did you mean state?");
}

}  // namespace
}  // namespace uvmm::control
