// SPDX-License-Identifier: Apache-2.0
// leave(): ends the process so that whoever waits for it knows at once. Main thread.
#pragma once

namespace uvmm::command {

// The kernel reports an exit once the process has let go of everything, and to let go of a young VM takes it
// 15 ms and more. So a helper process, which shares memory and descriptors with this one, holds the VM until
// this process is gone, and then goes as well. All descriptors but KVM's are closed before: files, locks and
// pipes are free when the status is out.
[[noreturn]] void leave(int status);

}  // namespace uvmm::command
