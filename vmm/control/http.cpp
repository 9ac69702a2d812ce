// SPDX-License-Identifier: Apache-2.0
#include "vmm/control/http.h"

#include <fmt/format.h>
#include <boost/beast/core/error.hpp>
#include <boost/beast/http/message.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/rfc7230.hpp>
#include <boost/beast/http/string_body.hpp>
#include <nlohmann/json.hpp>

#include <utility>

namespace uvmm::control {
namespace {

namespace http = boost::beast::http;

std::string_view view(boost::beast::string_view text) {
  return {text.data(), text.size()};
}

std::map<std::string, std::string> split_query(std::string_view text) {
  std::map<std::string, std::string> query;
  while (!text.empty()) {
    const std::string_view item = text.substr(0, text.find('&'));
    const auto equals = std::ranges::find(item, '=');
    const auto value = equals == item.end() ? equals : equals + 1;
    query.emplace(std::string(item.begin(), equals), std::string(value, item.end()));
    text.remove_prefix(std::min(item.size() + 1, text.size()));
  }
  return query;
}

Response refusal_of(const boost::beast::error_code& error) {
  if (error == http::error::header_limit)
    return problem(431, fmt::format("the request's head has more than {} bytes", kMostHeaderBytes));
  if (error == http::error::body_limit)
    return problem(413, fmt::format("the request's body has more than {} bytes", kMostBodyBytes));
  return problem(400, fmt::format("no HTTP request: {}", error.message()));
}

std::string head(const Response& response, std::string_view connection) {
  std::string text = fmt::format("HTTP/1.1 {} {}\r\nContent-Type: {}\r\nCache-Control: no-store\r\n",
                                 response.status, reason_phrase(response.status), response.content_type);
  for (const auto& [name, value] : response.fields) text += fmt::format("{}: {}\r\n", name, value);
  if (!connection.empty()) text += fmt::format("Connection: {}\r\n", connection);
  return text;
}

}  // namespace

std::string_view reason_phrase(unsigned status) {
  return view(http::obsolete_reason(http::int_to_status(status)));
}

Response problem(unsigned status, std::string_view detail, std::string_view hint, std::string_view field) {
  nlohmann::ordered_json json = {
      {"type", "about:blank"}, {"title", reason_phrase(status)}, {"status", status}, {"detail", detail}};
  if (!hint.empty()) json["hint"] = hint;
  if (!field.empty()) json["field"] = field;
  return {.status = status,
          .content_type = "application/problem+json",
          .body = json.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + '\n'};
}

std::string serialise(const Response& response, bool keep_alive) {
  return fmt::format("{}Content-Length: {}\r\n\r\n{}", head(response, keep_alive ? "" : "close"),
                     response.body.size(), response.body);
}

std::string serialise_head(const Response& response) {
  return head(response, response.status == 101 ? "Upgrade" : "close") + "\r\n";
}

// --- requests

struct RequestParser::Parser : http::request_parser<http::string_body> {
  Parser() {
    header_limit(kMostHeaderBytes);
    body_limit(kMostBodyBytes);
    eager(false);  // put() ends with the head, for a look at it
  }
};

RequestParser::RequestParser() : parser_(std::make_unique<Parser>()) {}
RequestParser::~RequestParser() = default;
RequestParser::RequestParser(RequestParser&&) noexcept = default;

bool RequestParser::done() const {
  return parser_->is_done();
}

bool RequestParser::started() const {
  return parser_->got_some();
}

std::size_t RequestParser::feed(std::string_view bytes) {
  std::size_t consumed = 0;
  while (consumed < bytes.size() && !done() && !refusal_) {
    boost::beast::error_code error;
    const std::string_view rest = bytes.substr(consumed);
    const std::size_t used = parser_->put(boost::asio::buffer(rest.data(), rest.size()), error);
    consumed += used;
    if (error == http::error::need_more) break;
    if (error) {
      refusal_ = refusal_of(error);
    } else if (parser_->is_header_done() && parser_->chunked()) {
      // Beast 1.74 asserts things of chunks that a client need not keep to.
      refusal_ = problem(411, "a body in chunks is not taken", "send its Content-Length");
    }
    if (used == 0) break;
  }
  return consumed;
}

Request RequestParser::take() {
  auto& message = parser_->get();
  Request request;
  request.method = view(message.method_string());
  std::string_view target = view(message.target());
  const std::size_t question = std::min(target.find('?'), target.size());
  request.path = target.substr(0, question);
  request.query = split_query(target.substr(std::min(question + 1, target.size())));
  request.body = std::move(message.body());
  const std::string_view accept = view(message[http::field::accept]);
  request.accepts_json = accept.find("application/json") != accept.npos;
  request.wants_upgrade = parser_->upgrade();
  request.keep_alive = parser_->keep_alive();
  parser_ = std::make_unique<Parser>();
  return request;
}

// --- responses

struct ResponseParser::Parser : http::response_parser<http::string_body> {
  Parser() {
    header_limit(kMostHeaderBytes);
    body_limit(boost::none);
    eager(true);
  }
  std::string unread;  // what put() has not taken yet
};

ResponseParser::ResponseParser() : parser_(std::make_unique<Parser>()) {}
ResponseParser::~ResponseParser() = default;

bool ResponseParser::feed(std::string_view bytes) {
  parser_->unread += bytes;
  while (!parser_->unread.empty() && !parser_->is_done()) {
    boost::beast::error_code error;
    const std::size_t used = parser_->put(boost::asio::buffer(parser_->unread), error);
    parser_->unread.erase(0, used);
    if (error == http::error::need_more) return true;
    if (error) return false;
    if (used == 0) break;
  }
  return true;
}

void ResponseParser::end() {
  boost::beast::error_code ignored;
  if (!parser_->is_done() && parser_->got_some()) parser_->put_eof(ignored);
}

bool ResponseParser::has_head() const {
  return parser_->is_header_done();
}
bool ResponseParser::done() const {
  return parser_->is_done();
}
unsigned ResponseParser::status() const {
  return parser_->get().result_int();
}
std::string ResponseParser::take_body() {
  return std::exchange(parser_->get().body(), {});
}
std::string ResponseParser::take_rest() {
  return std::exchange(parser_->unread, {});
}

}  // namespace uvmm::control
