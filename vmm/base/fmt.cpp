// SPDX-License-Identifier: Apache-2.0
// The part of fmt that is not templates, once, for all of libuvmm and what links it: distributions have it only as a
// shared library, which a static program cannot use, and header-only fmt makes every source file compile it anew
// (6.5 s instead of 0.6 s a file under sanitizers).
#include <fmt/format-inl.h>

FMT_BEGIN_NAMESPACE
namespace detail {

template char decimal_point_impl(locale_ref);
template thousands_sep_result<char> thousands_sep_impl(locale_ref);

}  // namespace detail
FMT_END_NAMESPACE
