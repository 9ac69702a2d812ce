# SPDX-License-Identifier: Apache-2.0
# `cpack -G DEB` in the build directory: a Debian package with all that `cmake --install` installs.
install(FILES README.md CHANGELOG.md DESTINATION ${CMAKE_INSTALL_DATAROOTDIR}/doc/uvmm)
install(FILES LICENSE DESTINATION ${CMAKE_INSTALL_DATAROOTDIR}/doc/uvmm RENAME copyright)
install(DIRECTORY docs DESTINATION ${CMAKE_INSTALL_DATAROOTDIR}/doc/uvmm)

set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_NAME uvmm)
set(CPACK_PACKAGE_CONTACT "The uvmm authors")
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "virtual machine monitor for KVM with virtio devices and nothing else")
set(CPACK_PACKAGE_DESCRIPTION "Boots Linux guests with block devices, networks, shared directories, sockets, console and entropy,\n\
all of them in one process that needs no privileges beyond access to /dev/kvm. The same\nengine is a library for C++ and C.")
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_STRIP_FILES ON)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_SECTION utils)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_PACKAGE_RECOMMENDS passt)
include(CPack)
