/* SPDX-License-Identifier: Apache-2.0
 * embed KERNEL: runs a guest within this process. Its disk is 16 MiB of our own memory, its console comes to
 * us as it is written, and we are told what happens. */
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>

#include <uvmm/uvmm.h>

static char content[16 << 20];

static void serve(void* context, uvmm_disk_request* request, uvmm_disk_operation operation, uint64_t offset,
                  const struct iovec* buffers, size_t count) {
  char* at = (char*)context + offset;
  for (size_t i = 0; i < count; ++i) {
    if (operation == UVMM_DISK_READ) {
      memcpy(buffers[i].iov_base, at, buffers[i].iov_len);
    } else {
      memcpy(at, buffers[i].iov_base, buffers[i].iov_len);
    }
    at += buffers[i].iov_len;
  }
  uvmm_disk_complete(request, 0);
}

static void print(void* context, const void* bytes, size_t count) {
  (void)context;
  fwrite(bytes, 1, count, stdout);
}

static void tell(void* context, const uvmm_event* event) {
  (void)context;
  if (event->kind == UVMM_EVENT_STARTED) puts("the guest runs");
}

int main(int argc, char** argv) {
  if (argc != 2) return 2;

  const uvmm_disk memory = {
      .size = sizeof memory, .bytes = sizeof content, .submit = serve, .context = content};
  const uvmm_disk_config disk = {.size = sizeof disk, .path = "memory", .disk = &memory};

  uvmm_config config;
  uvmm_config_init(&config, sizeof config);
  config.kernel = argv[1];
  config.memory_bytes = 128 << 20;
  config.disks = &disk;
  config.disk_count = 1;
  config.console = UVMM_CONSOLE_SINK;
  config.console_output = print;
  config.event = tell;

  uvmm_error* error = NULL;
  uvmm_vm* vm = uvmm_vm_create(&config, &error);
  if (!vm) {
    fprintf(stderr, "error: %s\n  hint: %s\n", uvmm_error_message(error), uvmm_error_hint(error));
    uvmm_error_free(error);
    return 1;
  }

  /* On a thread of its own, so that this one can wait for several VMs, or do something else. */
  if (uvmm_vm_start(vm, NULL) != 0) return 1;
  struct pollfd end = {.fd = uvmm_vm_end_fd(vm), .events = POLLIN};
  poll(&end, 1, -1);
  const uvmm_end how = uvmm_vm_wait(vm);

  uvmm_statistics* statistics = uvmm_vm_statistics(vm);
  uvmm_device_statistics device = {.size = sizeof device};
  for (size_t i = 0; uvmm_statistics_device(statistics, i, &device) == 0; ++i) {
    uvmm_queue_statistics queue = {.size = sizeof queue};
    uint64_t requests = 0;
    for (size_t q = 0; uvmm_statistics_queue(statistics, i, q, &queue) == 0; ++q) requests += queue.requests;
    printf("%s: %" PRIu64 " requests\n", device.name, requests);
  }
  uvmm_statistics_free(statistics);
  uvmm_vm_destroy(vm);
  return how == UVMM_END_POWER_OFF ? 0 : 1;
}
