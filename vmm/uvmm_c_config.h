// SPDX-License-Identifier: Apache-2.0
// What a C caller configures, as C++ has it. Any thread; nothing lives beyond what is returned.
//
// A structure begins with its size, by which an older caller's is known. So what is added to one goes behind
// its old size, not into padding at its end, which that caller need not have cleared.
#pragma once

#include <algorithm>
#include <cstring>
#include <memory>
#include <vector>

#include <uvmm/uvmm.h>
#include <uvmm/disk.hpp>
#include <uvmm/uvmm.hpp>

namespace uvmm {

class CallbackDisk final : public Disk {
 public:
  explicit CallbackDisk(const uvmm_disk& functions) : functions_(functions) {}

  std::uint64_t bytes() const override { return functions_.bytes; }
  void submit(DiskRequest& request) override {
    functions_.submit(functions_.context, reinterpret_cast<uvmm_disk_request*>(&request),
                      static_cast<uvmm_disk_operation>(request.kind), request.offset, request.buffers.data(),
                      request.buffers.size());
  }

 private:
  const uvmm_disk functions_;
};

using CallbackDisks = std::vector<std::unique_ptr<CallbackDisk>>;

struct CConfig {
  CallbackDisks disks;  // `config` names them
  Config config;
  Callbacks callbacks;
};

// `given` itself may be of any size.
Result<CConfig> translate(const uvmm_config& given);

// What of `given` its maker knew; the rest is as in `otherwise`.
template <typename Struct>
Struct known_part(const Struct& given, Struct otherwise = {}) {
  std::memcpy(&otherwise, &given, std::min(given.size, sizeof otherwise));
  return otherwise;
}

// The same to a structure of the caller's, whose size stays what it was.
template <typename Struct>
void fill(Struct& result, Struct values) {
  values.size = result.size;
  std::memcpy(&result, &values, std::min(result.size, sizeof values));
}

}  // namespace uvmm
