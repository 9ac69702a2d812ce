/* SPDX-License-Identifier: Apache-2.0
 *
 * What the parts of the program share. */
#pragma once
#include <stddef.h>

extern int is_record; /* SOCK_SEQPACKET rather than SOCK_STREAM */

void die(const char* what);
void check(int good, const char* what);
void write_all(int fd, const char* bytes, size_t count);
int connect_to(const char* address);

/* ends.c: how connections end. */
void halves(const char* address);
void obey(int fd);
void let_die(int count, const char* address);
void live_shortly(int fd);
void leave(int fd, long long count);

/* records.c */
void records(int fd, int count, int most);
void boundaries(int fd);
void send_empties(int fd);
void receive_empties(int fd);
