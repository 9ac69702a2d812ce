# SPDX-License-Identifier: Apache-2.0
# libuvmm as a shared library, and what `cmake --install` puts where: headers, both libraries, a CMake package
# (uvmm::uvmm is the static one, uvmm::uvmm-shared the shared one) and a pkg-config file.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

if(NOT UVMM_SANITIZE)
  set(version_script ${CMAKE_CURRENT_LIST_DIR}/libuvmm.map)
  add_library(uvmm-shared SHARED $<TARGET_OBJECTS:libuvmm>)
  target_compile_features(uvmm-shared INTERFACE cxx_std_23)
  target_include_directories(uvmm-shared INTERFACE $<INSTALL_INTERFACE:include>)
  set_target_properties(uvmm-shared PROPERTIES OUTPUT_NAME uvmm LINKER_LANGUAGE CXX LINK_DEPENDS ${version_script}
    VERSION ${PROJECT_VERSION} SOVERSION ${PROJECT_VERSION_MAJOR})
  # The shared ones of the host's libraries, whichever the command is linked with.
  target_link_libraries(uvmm-shared PRIVATE "$<BUILD_INTERFACE:${HOST_LIBRARY_NAMES}>" Threads::Threads)
  target_link_options(uvmm-shared PRIVATE LINKER:--version-script=${version_script} LINKER:--no-undefined
    LINKER:--as-needed)
  install(TARGETS libuvmm uvmm-shared EXPORT uvmmTargets)
  install(EXPORT uvmmTargets NAMESPACE uvmm:: DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/uvmm)
  install(DIRECTORY vmm/include/uvmm TYPE INCLUDE)

  configure_package_config_file(${CMAKE_CURRENT_LIST_DIR}/uvmmConfig.cmake.in uvmmConfig.cmake
    INSTALL_DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/uvmm)
  write_basic_package_version_file(uvmmConfigVersion.cmake COMPATIBILITY SameMinorVersion)
  install(FILES ${CMAKE_BINARY_DIR}/uvmmConfig.cmake ${CMAKE_BINARY_DIR}/uvmmConfigVersion.cmake
    DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/uvmm)

  file(RELATIVE_PATH PREFIX_FROM_PKGCONFIG /${CMAKE_INSTALL_LIBDIR}/pkgconfig /)
  list(TRANSFORM HOST_LIBRARY_NAMES PREPEND -l OUTPUT_VARIABLE HOST_LIBRARY_OPTIONS)
  list(JOIN HOST_LIBRARY_OPTIONS " " HOST_LIBRARY_OPTIONS)
  configure_file(${CMAKE_CURRENT_LIST_DIR}/uvmm.pc.in uvmm.pc @ONLY)
  install(FILES ${CMAKE_BINARY_DIR}/uvmm.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)

  # written(TOPIC FILE DESTINATION): what the command says of itself, for others to read.
  function(written topic file destination)
    set(path ${CMAKE_BINARY_DIR}/written/${file})
    add_custom_command(OUTPUT ${path} COMMAND uvmm --help ${topic} > ${path} DEPENDS uvmm)
    set_property(TARGET written APPEND PROPERTY WRITTEN ${path})
    install(FILES ${path} DESTINATION ${destination})
  endfunction()
  file(MAKE_DIRECTORY ${CMAKE_BINARY_DIR}/written)
  add_custom_target(written ALL DEPENDS "$<TARGET_PROPERTY:written,WRITTEN>")
  written(man uvmm.1 ${CMAKE_INSTALL_MANDIR}/man1)
  written(bash uvmm ${CMAKE_INSTALL_DATAROOTDIR}/bash-completion/completions)
  written(zsh _uvmm ${CMAKE_INSTALL_DATAROOTDIR}/zsh/vendor-completions)
  written(fish uvmm.fish ${CMAKE_INSTALL_DATAROOTDIR}/fish/vendor_completions.d)
  install(FILES docs/systemd/uvmm@.service DESTINATION lib/systemd/system)
endif()
