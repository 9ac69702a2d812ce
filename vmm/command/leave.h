// SPDX-License-Identifier: Apache-2.0
// leave(): ends the process so that whoever waits for it knows at once. Main thread.
#pragma once

namespace uvmm::command {

// The kernel reports an exit once the process has let go of everything, and to let go of a young VM takes it
// 15 ms and more. So a helper process, which shares memory and descriptors with this one, holds the VM until
// this process is gone, and then goes as well. All descriptors but KVM's are closed before: files, locks and
// pipes are free when the status is out. Guest memory is not: with `memory_first` the process goes the slow
// way, which is for memory of a reserved pool, where the next VM may find none before.
[[noreturn]] void leave(int status, bool memory_first);

}  // namespace uvmm::command
