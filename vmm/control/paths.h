// SPDX-License-Identifier: Apache-2.0
// Where the control sockets of running VMs are: NAME.sock in a directory of the user's. Any thread.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include <uvmm/error.hpp>

namespace uvmm::control {

// $XDG_RUNTIME_DIR/uvmm, or /run/uvmm where that variable is not set.
std::string socket_directory();

// The socket of the VM of that name in socket_directory(). Refuses a name that is no file name.
Result<std::string> socket_path(std::string_view name);

// What a user calls a VM: a path, which has a slash in it, or the name of a VM of this user or, if there is
// none, of the system.
Result<std::string> find_socket(std::string_view name_or_path);

// All sockets of this user and of the system, whether somebody listens or not.
std::vector<std::string> all_sockets();

}  // namespace uvmm::control
