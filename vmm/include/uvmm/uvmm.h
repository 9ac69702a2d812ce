/* SPDX-License-Identifier: Apache-2.0
 * libuvmm for C: a virtual machine as an object. Fill in a uvmm_config, create a uvmm_vm from it, run it.
 *
 * The functions do what those of the same name in uvmm/uvmm.hpp do, and the same threads may call them; what
 * is said there holds here. There is no global state. What goes wrong at the start is said by a uvmm_error,
 * which the caller frees; `error` may be NULL for one who does not want to know.
 *
 * Structures begin with their size, so that later versions can have more members:
 *
 *   uvmm_config config;
 *   uvmm_config_init(&config, sizeof config);
 *   config.kernel = "vmlinuz";
 *   uvmm_error *error = NULL;
 *   uvmm_vm *vm = uvmm_vm_create(&config, &error);
 *   if (!vm) { fprintf(stderr, "%s\n", uvmm_error_message(error)); uvmm_error_free(error); return 1; }
 *   uvmm_end end = uvmm_vm_run(vm);
 *   uvmm_vm_destroy(vm);
 *
 * An array of structures has one size, that of its first element. What is not said to be otherwise (strings,
 * arrays) is copied by uvmm_vm_create(). Flags are 0 or 1. Callbacks are given the `context` that stands
 * beside them. */
#ifndef UVMM_UVMM_H
#define UVMM_UVMM_H

#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include <uvmm/api.h>

#ifdef __cplusplus
extern "C" {
#endif

UVMM_API const char* uvmm_version(void); /* "1.2.3" */

/* --- errors */

typedef enum uvmm_error_kind {
  UVMM_ERROR_USAGE = 64,
  UVMM_ERROR_BAD_DATA = 65,
  UVMM_ERROR_NO_INPUT = 66,
  UVMM_ERROR_UNAVAILABLE = 69,
  UVMM_ERROR_HOST = 71,
  UVMM_ERROR_CANNOT_CREATE = 73,
  UVMM_ERROR_BUSY = 75,
  UVMM_ERROR_PERMISSION = 77
} uvmm_error_kind;

typedef struct uvmm_error uvmm_error;

UVMM_API uvmm_error_kind uvmm_error_get_kind(const uvmm_error* error);
UVMM_API const char* uvmm_error_message(const uvmm_error* error); /* lives as long as the error */
UVMM_API const char* uvmm_error_hint(const uvmm_error* error);    /* likewise; may be empty */
UVMM_API void uvmm_error_free(uvmm_error* error);                 /* of NULL: nothing */

/* --- a disk that the caller serves (uvmm/disk.hpp) */

typedef enum uvmm_disk_operation { UVMM_DISK_READ, UVMM_DISK_WRITE, UVMM_DISK_FLUSH } uvmm_disk_operation;

typedef struct uvmm_disk_request uvmm_disk_request;

typedef struct uvmm_disk {
  size_t size;
  uint64_t bytes; /* how large it is, for good: a multiple of 512 */
  void (*submit)(void* context, uvmm_disk_request* request, uvmm_disk_operation operation, uint64_t offset,
                 const struct iovec* buffers, size_t count);
  void* context;
} uvmm_disk;

/* 0, or an errno value. Once for each request, on any thread, also within submit(). */
UVMM_API void uvmm_disk_complete(uvmm_disk_request* request, int error);

/* --- configuration */

typedef struct uvmm_disk_config {
  size_t size;
  const char* path; /* of a raw image or a block device; with `disk`, a name for messages */
  int read_only;    /* -1: by itself on erofs and squashfs images, so of a `disk` not */
  int root;
  const char* serial; /* NULL: derived */
  int direct;
  uint16_t queues;       /* 0: one per vCPU, four at most */
  int no_lock;           /* 1: without a lock on the image */
  const uvmm_disk* disk; /* in place of an image; NULL: none. Only its context must outlive the VM. */
} uvmm_disk_config;

typedef enum uvmm_net_kind {
  UVMM_NET_USER,
  UVMM_NET_TAP,
  UVMM_NET_FDS,
  UVMM_NET_SOCKET /* fds[0]: a socket of messages, each of which is an Ethernet frame */
} uvmm_net_kind;

typedef struct uvmm_net_forward {
  size_t size;
  int udp;
  const char* host_address; /* NULL: everywhere */
  uint16_t host_port;
  const char* guest_address; /* NULL: the guest's own */
  uint16_t guest_port;
} uvmm_net_forward;

typedef struct uvmm_net_config {
  size_t size;
  uvmm_net_kind kind;
  const char* tap;
  const int* fds; /* duplicated; made non-blocking */
  size_t fd_count;
  const uvmm_net_forward* forwards;
  size_t forward_count;
  const uint8_t* mac; /* 6 bytes; NULL: derived */
  uint16_t mtu;
  uint16_t queues;
  size_t queue_size; /* entries of each at most: a power of two, up to 1024; 0: 256 */
} uvmm_net_config;

typedef enum uvmm_share_cache {
  UVMM_SHARE_CACHE_AUTO,
  UVMM_SHARE_CACHE_ALWAYS,
  UVMM_SHARE_CACHE_NEVER
} uvmm_share_cache;

typedef struct uvmm_share_config {
  size_t size;
  const char* path;
  const char* tag; /* NULL: the path's last part */
  int read_only;
  uvmm_share_cache cache;
  int writeback;
  int64_t uid; /* -1: unset */
  int64_t gid;
} uvmm_share_config;

typedef enum uvmm_console_kind {
  UVMM_CONSOLE_OFF,
  UVMM_CONSOLE_STREAMS,
  UVMM_CONSOLE_FILE,
  UVMM_CONSOLE_UNIX,
  UVMM_CONSOLE_SINK
} uvmm_console_kind;

typedef struct uvmm_credential {
  size_t size;
  const char* id;
  const char* path;
} uvmm_credential;

/* A port of CID 2. `connected` is called on the VM's thread with the host's end of each connection that the
 * guest makes to it, which is the callee's to close. */
typedef struct uvmm_vsock_listener {
  size_t size;
  uint32_t port;
  void (*connected)(void* context, int fd);
  void* context;
} uvmm_vsock_listener;

typedef enum uvmm_log_level {
  UVMM_LOG_ERROR,
  UVMM_LOG_WARNING,
  UVMM_LOG_INFO,
  UVMM_LOG_DEBUG
} uvmm_log_level;

typedef enum uvmm_end {
  UVMM_END_POWER_OFF,
  UVMM_END_REBOOT,
  UVMM_END_PANIC,
  UVMM_END_TRIPLE_FAULT,
  UVMM_END_INTERNAL_ERROR,
  UVMM_END_STOPPED
} uvmm_end;

typedef enum uvmm_event_kind {
  UVMM_EVENT_STARTED,
  UVMM_EVENT_PAUSED,
  UVMM_EVENT_RESUMED,
  UVMM_EVENT_SHUTDOWN_REQUESTED,
  UVMM_EVENT_GUEST_PANIC,
  UVMM_EVENT_DEVICE_ERROR,
  UVMM_EVENT_HELPER_DIED,
  UVMM_EVENT_ENDED
} uvmm_event_kind;

typedef struct uvmm_event {
  size_t size;
  uvmm_event_kind kind;
  const char* subject; /* a device, or empty */
  const char* detail;  /* for a person; may be empty */
  uvmm_end end;        /* UVMM_EVENT_ENDED */
} uvmm_event;

typedef struct uvmm_config {
  size_t size;
  const char* name;
  const char* kernel;
  const char* const* initrds;
  size_t initrd_count;
  const char* cmdline;
  int default_cmdline; /* 1 by uvmm_config_init(), as are kernel_cache, balloon, rng and power_button */
  int kernel_cache;
  uint32_t cpus;

  uint64_t memory_bytes;
  int memory_hugepages;
  int memory_prefault;
  int memory_mergeable;
  int memory_shared;

  const uvmm_disk_config* disks;
  size_t disk_count;
  const uvmm_net_config* nets;
  size_t net_count;
  const uvmm_share_config* shares;
  size_t share_count;

  int balloon;
  uint64_t balloon_bytes;
  int balloon_deflate_on_oom;      /* 1 by uvmm_config_init() */
  int balloon_free_page_reporting; /* 1 by uvmm_config_init() */
  int rng;
  int power_button;

  uvmm_console_kind console;
  int console_input_fd;  /* -1 by uvmm_config_init() */
  int console_output_fd; /* likewise */
  int console_escape;
  const char* console_path;
  void (*console_output)(void* context, const void* bytes, size_t count); /* UVMM_CONSOLE_SINK */
  void* console_context;

  uint32_t vsock_cid;     /* 0: without vsock */
  const char* vsock_path; /* NULL: without sockets in the file system */
  const uvmm_vsock_listener* vsock_listeners;
  size_t vsock_listener_count;

  const char* uuid;
  const uvmm_credential* credentials;
  size_t credential_count;
  int earlycon;

  /* Callbacks of the VM's; `line` ends with a NUL. */
  uvmm_log_level log_level;
  void (*log)(void* context, uvmm_log_level level, const char* line);
  void* log_context;
  void (*event)(void* context, const uvmm_event* event);
  void* event_context;
  void (*before_first_run)(void* context); /* on the thread that runs the VM, just before vCPU 0 starts */
  void* before_first_run_context;

  int console_backlog; /* 1: the last 64 KiB of output are kept for uvmm_vm_attach_console() */
} uvmm_config;

/* Fills in what a member is unless one says otherwise. */
UVMM_API void uvmm_config_init(uvmm_config* config, size_t size);
/* Whether it can be faulted without opening anything: 0, or -1 and an error. */
UVMM_API int uvmm_config_check(const uvmm_config* config, uvmm_error** error);

/* --- a VM */

typedef struct uvmm_vm uvmm_vm;

/* NULL and an error if it is refused. */
UVMM_API uvmm_vm* uvmm_vm_create(const uvmm_config* config, uvmm_error** error);
/* Ends it if it runs by uvmm_vm_start(). Of NULL: nothing. */
UVMM_API void uvmm_vm_destroy(uvmm_vm* vm);

/* On the calling thread, to its end. */
UVMM_API uvmm_end uvmm_vm_run(uvmm_vm* vm);
/* On a thread of its own: 0, or -1 and an error. */
UVMM_API int uvmm_vm_start(uvmm_vm* vm, uvmm_error** error);
UVMM_API uvmm_end uvmm_vm_wait(uvmm_vm* vm);
/* 1 and the end, or 0 if it has not ended by then. */
UVMM_API int uvmm_vm_wait_for(uvmm_vm* vm, uint32_t milliseconds, uvmm_end* end);
/* What there is to say of the end, once run() or a wait has told it: one line or more for a person, or
 * nothing. It lives as long as the VM. */
UVMM_API const char* uvmm_vm_end_detail(const uvmm_vm* vm);
/* A descriptor that becomes readable at the end. It lives as long as the VM; not to be read. */
UVMM_API int uvmm_vm_end_fd(const uvmm_vm* vm);

UVMM_API void uvmm_vm_pause(uvmm_vm* vm);
UVMM_API void uvmm_vm_resume(uvmm_vm* vm);
/* `deadline_ms` is -1 for none. */
UVMM_API void uvmm_vm_shut_down(uvmm_vm* vm, int64_t deadline_ms);
UVMM_API void uvmm_vm_stop(uvmm_vm* vm);

typedef enum uvmm_state {
  UVMM_STATE_CREATED,
  UVMM_STATE_RUNNING,
  UVMM_STATE_PAUSED,
  UVMM_STATE_ENDED
} uvmm_state;

UVMM_API uvmm_state uvmm_vm_state(const uvmm_vm* vm);
UVMM_API const char* uvmm_vm_cmdline(const uvmm_vm* vm); /* lives as long as the VM */

UVMM_API void uvmm_vm_resize_console(uvmm_vm* vm, uint16_t columns, uint16_t rows);
/* How many of the bytes were taken. */
UVMM_API size_t uvmm_vm_send_console_input(uvmm_vm* vm, const void* bytes, size_t count);
UVMM_API void uvmm_vm_set_balloon(uvmm_vm* vm, uint64_t bytes);
UVMM_API uint64_t uvmm_vm_balloon_bytes(const uvmm_vm* vm);

/* What the guest says of its memory; UINT64_MAX where it does not say. `size` is the caller's to set. */
typedef struct uvmm_memory_statistics {
  size_t size;
  uint64_t total_bytes, free_bytes, available_bytes, cache_bytes;
  uint64_t swapped_in_bytes, swapped_out_bytes, major_faults, minor_faults;
} uvmm_memory_statistics;

UVMM_API void uvmm_vm_memory_statistics(uvmm_vm* vm, uvmm_memory_statistics* result);

/* 0, or -1 and an error; so are the next two. `bytes`, which may be NULL, is told the disk's size. */
UVMM_API int uvmm_vm_resize_disk(uvmm_vm* vm, size_t disk, uint64_t* bytes, uvmm_error** error);
UVMM_API int uvmm_vm_plug_in_net(uvmm_vm* vm, size_t net, int plugged_in, uvmm_error** error);
/* Takes the socket over. */
UVMM_API int uvmm_vm_attach_console(uvmm_vm* vm, int socket, uvmm_error** error);
UVMM_API void uvmm_vm_set_log_level(uvmm_vm* vm, uvmm_log_level level);

/* A connected descriptor, which is the caller's to close; or -1 and an error. */
UVMM_API int uvmm_vm_connect_vsock(uvmm_vm* vm, uint32_t port, uvmm_error** error);

/* --- statistics, as they are at one moment */

typedef struct uvmm_statistics uvmm_statistics;

typedef struct uvmm_vcpu_statistics {
  size_t size;
  uint64_t io_in, io_out, mmio_read, mmio_write, other; /* exits */
  uint64_t cpu_time_ns;
} uvmm_vcpu_statistics;

typedef struct uvmm_device_statistics {
  size_t size;
  const char* name; /* lives as long as the statistics */
  uint16_t virtio_id;
  uint64_t errors;
  size_t queue_count;
} uvmm_device_statistics;

typedef struct uvmm_queue_statistics {
  size_t size;
  uint64_t requests, bytes_from_guest, bytes_to_guest, notifications, interrupts;
} uvmm_queue_statistics;

UVMM_API uvmm_statistics* uvmm_vm_statistics(const uvmm_vm* vm);
UVMM_API void uvmm_statistics_free(uvmm_statistics* statistics); /* of NULL: nothing */
/* Each fills in a structure, whose `size` the caller has set: 0, or -1 if there is no such vCPU, device or
 * queue. */
UVMM_API int uvmm_statistics_vcpu(const uvmm_statistics* statistics, size_t vcpu,
                                  uvmm_vcpu_statistics* result);
UVMM_API int uvmm_statistics_device(const uvmm_statistics* statistics, size_t device,
                                    uvmm_device_statistics* result);
UVMM_API int uvmm_statistics_queue(const uvmm_statistics* statistics, size_t device, size_t queue,
                                   uvmm_queue_statistics* result);

#ifdef __cplusplus
}
#endif

#endif
