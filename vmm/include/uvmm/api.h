/* SPDX-License-Identifier: Apache-2.0
 * What libuvmm exports as a shared library; of all else nothing can be seen. */
#ifndef UVMM_API_H
#define UVMM_API_H

#define UVMM_API __attribute__((visibility("default")))

#endif
