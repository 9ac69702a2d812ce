// SPDX-License-Identifier: Apache-2.0
// The one place that knows toml++. Its file format is the table's: a key for each option, a table for an
// option with keys, an array of those for a list.
#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <vector>

#include <toml++/toml.h>

#include "vmm/command/failure.h"
#include "vmm/command/parse.h"

namespace uvmm::command {
namespace {

constexpr std::size_t kLongestFile = 1 << 20;
constexpr std::size_t kMostDots = 256;

// toml++ bounds how deep brackets nest but not how deep dotted keys do, and its trees are taken down by
// recursion. So the dots outside of strings and comments are counted first; no honest file has many.
bool has_too_many_dots(std::string_view text) {
  std::size_t dots = 0;
  while (!text.empty()) {
    const char byte = text.front();
    std::size_t skip = 1;
    if (byte == '.' && ++dots > kMostDots) return true;
    if (byte == '#') skip = text.find('\n');
    if (byte == '"' || byte == '\'') {
      const bool multiline = text.size() > 2 && text[1] == byte && text[2] == byte;
      const std::size_t quotes = multiline ? 3 : 1;
      std::size_t end = quotes;
      while (end < text.size() && text.substr(end, quotes) != text.substr(0, quotes)) {
        if (!multiline && text[end] == '\n') break;  // toml++ will refuse it
        end += byte == '"' && text[end] == '\\' ? 2 : 1;
      }
      skip = end + quotes;
    }
    text.remove_prefix(std::min(skip, text.size()));
  }
  return false;
}

// Reads one file into settings. Lives for that call only.
class Reader {
 public:
  Reader(const std::string& path, Settings& settings, Origins& origins)
      : path_(quote(path)), settings_(settings), origins_(origins) {}

  Result<void> read(const toml::table& file) {
    for (const auto& [key, node] : file) {
      const Option* const option = find_option(key.str());
      if (!option || !option->in_file) return refuse_key(key);
      if (Result<void> done = read_option(*option, node); !done) return done;
    }
    return {};
  }

  std::string location(const toml::source_region& source) const {
    return fmt::format("{}:{}:{}", path_, source.begin.line, source.begin.column);
  }

 private:
  std::unexpected<Error> refuse_key(const toml::key& key) const {
    std::vector<std::string_view> names;
    for (const Option& option : options()) {
      if (option.in_file) names.push_back(option.name);
    }
    const std::string_view guess = nearest(key.str(), names);
    return with_hint(
        fail(ErrorKind::kBadData, "{}: unknown key \"{}\"", location(key.source()), quote(key.str())),
        guess.empty() ? "the keys are the long options of uvmm --help"
                      : fmt::format("did you mean {}?", guess));
  }

  Result<void> read_option(const Option& option, const toml::node& node) {
    if (!node.is_array()) return read_object(option, node);
    if (!option.place.list) {
      return fail(ErrorKind::kBadData, "{}: {} is not a list", location(node.source()), option.name);
    }
    for (const toml::node& element : *node.as_array()) {
      if (Result<void> done = read_object(option, element); !done) return done;
    }
    return {};
  }

  Result<void> read_object(const Option& option, const toml::node& node) {
    void* const object = option.place.open(settings_);
    if (!node.is_table()) {
      remember(option, node);
      return assign(option, option.first(), object, node);
    }
    if (option.keys().empty()) {
      return fail(ErrorKind::kBadData, "{}: {} is a value, not a table", location(node.source()),
                  option.name);
    }
    for (const auto& [key, value] : *node.as_table()) {
      const Field* field = &option.first();
      if (key.str() != field->key) {
        const std::string subject = fmt::format("{}: {}", location(key.source()), option.name);
        Result<const Field*> found = find_key(option, key.str(), subject, ErrorKind::kBadData);
        if (!found) return std::unexpected(std::move(found.error()));
        field = *found;
      } else {
        remember(option, value);
      }
      if (Result<void> done = assign(option, *field, object, value); !done) return done;
    }
    return {};
  }

  Result<void> assign(const Option& option, const Field& field, void* object, const toml::node& node) const {
    if (node.is_array() && field.file_type == FileType::kStrings) {
      for (const toml::node& element : *node.as_array()) {
        if (Result<void> done = assign_one(option, field, object, element); !done) return done;
      }
      return {};
    }
    return assign_one(option, field, object, node);
  }

  Result<void> assign_one(const Option& option, const Field& field, void* object,
                          const toml::node& node) const {
    const std::string subject =
        fmt::format("{}: {}", location(node.source()), &field == &option.first() ? option.name : field.key);
    std::string text;
    if (const auto string = node.value_exact<std::string>()) {
      text = *string;
    } else if (const auto boolean = node.value_exact<bool>();
               boolean && field.file_type == FileType::kBoolean) {
      text = *boolean ? "on" : "off";
    } else if (const auto number = node.value_exact<std::int64_t>();
               number && field.file_type == FileType::kInteger) {
      text = fmt::format("{}", *number);
    } else {
      return fail(ErrorKind::kBadData, "{}: a value of that type does not fit", subject);
    }
    const Complaint complaint = field.assign(object, text);
    if (complaint.empty()) return {};
    return fail(ErrorKind::kBadData, "{}: \"{}\" {}", subject, quote(text), complaint);
  }

  // A list's elements are told apart by their first values.
  void remember(const Option& option, const toml::node& node) {
    std::string subject = fmt::format("--{}", option.name);
    if (option.place.list) subject += fmt::format(" {}", quote(node.value_or(std::string())));
    origins_.push_back({std::move(subject), location(node.source())});
  }

  std::string path_;
  Settings& settings_;
  Origins& origins_;
};

Result<std::string> read_text(const std::string& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY);
  if (fd < 0) {
    return fail(kind_of_open_error(errno), "cannot open {}: {}", quote(path), error_text(errno));
  }
  std::string text;
  char piece[4096];
  ssize_t got = 0;
  do {
    got = ::read(fd, piece, sizeof(piece));
    if (got > 0) text.append(piece, static_cast<std::size_t>(got));
  } while ((got > 0 && text.size() <= kLongestFile) || (got < 0 && errno == EINTR));
  const int error = got < 0 ? errno : 0;
  ::close(fd);
  if (error != 0) return fail(ErrorKind::kBadData, "cannot read {}: {}", quote(path), error_text(error));
  if (text.size() > kLongestFile) {
    return fail(ErrorKind::kBadData, "{}: longer than {} bytes, which no configuration is", quote(path),
                kLongestFile);
  }
  return text;
}

}  // namespace

Result<void> read_config(std::string_view text, const std::string& path, Settings& settings,
                         Origins& origins) {
  if (has_too_many_dots(text)) return fail(ErrorKind::kBadData, "{}: nested too deeply", quote(path));
  Reader reader(path, settings, origins);
  try {
    const toml::table file = toml::parse(text);
    return reader.read(file);
  } catch (const toml::parse_error& error) {
    return fail(ErrorKind::kBadData, "{}: {}", reader.location(error.source()), quote(error.description()));
  }
}

Result<void> read_config_file(const std::string& path, Settings& settings, Origins& origins) {
  Result<std::string> text = read_text(path);
  if (!text) return std::unexpected(std::move(text.error()));
  return read_config(*text, path, settings, origins);
}

}  // namespace uvmm::command
