// SPDX-License-Identifier: Apache-2.0
// <linux/kvm.h> as C sees it. To be included in its place, everywhere.
//
// The flexible arrays of the 5.16 to 6.4 headers are one element longer in C++, where an empty struct is not
// empty; and since an ioctl's number has the size of its argument in it, the numbers come out wrong as well.
#pragma once

#include <linux/stddef.h>

#undef __DECLARE_FLEX_ARRAY
#define __DECLARE_FLEX_ARRAY(TYPE, NAME) TYPE NAME[0]

#include <linux/kvm.h>

static_assert(sizeof(kvm_cpuid2) == 8 && sizeof(kvm_msrs) == 8 && sizeof(kvm_signal_mask) == 4 &&
                  sizeof(kvm_irq_routing) == 8,
              "<linux/kvm.h> was included before vmm/kvm/uapi.h");
