# Debian packages: `cpack` in a build folder that was configured with -DCMAKE_INSTALL_PREFIX=/usr (preset package; `tools/dev package`).
#   xdctl       the programs and their manual         libxd0   the shared library         libxd-dev   header, static library, pkg-config, CMake, libxd(3)
set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_NAME xd)
set(CPACK_PACKAGE_VENDOR "xd")
set(CPACK_PACKAGE_VERSION ${PROJECT_VERSION})
# Who builds is the maintainer, named as Debian's own tools ask for it.
if(DEFINED ENV{DEBEMAIL})
    set(maintainer "$ENV{DEBFULLNAME} <$ENV{DEBEMAIL}>")
else()
    cmake_host_system_information(RESULT host QUERY FQDN)
    set(maintainer "Unnamed Packager <packager@${host}>") # whoever is logged in may be root, which is nobody's name
endif()
set(CPACK_PACKAGE_CONTACT "${maintainer}")
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_STRIP_FILES ON)
set(CPACK_COMPONENTS_ALL programs library development)
set(CPACK_DEB_COMPONENT_INSTALL ON)
set(CPACK_INSTALL_DEFAULT_DIRECTORY_PERMISSIONS OWNER_READ OWNER_WRITE OWNER_EXECUTE GROUP_READ GROUP_EXECUTE WORLD_READ WORLD_EXECUTE)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_PACKAGE_GENERATE_SHLIBS ON)
set(CPACK_DEBIAN_PACKAGE_GENERATE_SHLIBS_POLICY ">=")
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION ON)
set(CPACK_DEBIAN_PACKAGE_PRIORITY optional)
set(CPACK_DEBIAN_PACKAGE_RELEASE 1)
set(XD_NAME_programs xdctl)
set(XD_NAME_library libxd${PROJECT_VERSION_MAJOR})
set(XD_NAME_development libxd-dev)
set(CPACK_DEBIAN_PROGRAMS_PACKAGE_SECTION devel)
set(CPACK_DEBIAN_LIBRARY_PACKAGE_SECTION libs)
set(CPACK_DEBIAN_DEVELOPMENT_PACKAGE_SECTION libdevel)
set(CPACK_DEBIAN_PROGRAMS_PACKAGE_RECOMMENDS "python3-pytest, openssh-client")
set(CPACK_DEBIAN_DEVELOPMENT_PACKAGE_DEPENDS "${XD_NAME_library} (= ${PROJECT_VERSION}-1)")
set(CPACK_DEBIAN_DEVELOPMENT_PACKAGE_RECOMMENDS "xdctl (= ${PROJECT_VERSION}-1)")
set(CPACK_DEBIAN_DEVELOPMENT_PACKAGE_SUGGESTS "libzmq3-dev, libsodium-dev, libxxhash-dev, libjansson-dev, libxml2-dev, libsqlite3-dev, libutf8proc-dev, zlib1g-dev, libzstd-dev, libssh-dev, libssl-dev, libstdc++-12-dev")
set(CPACK_DEBIAN_LIBRARY_PACKAGE_SUGGESTS "xdctl (= ${PROJECT_VERSION}-1)")
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "test execution engine: pytest suites on all processors")
set(CPACK_COMPONENT_PROGRAMS_DESCRIPTION "xdctl runs an existing pytest suite, with its configuration and plugins, on
all processors of a machine, and of hosts that ssh reaches, and shows the
results as one session.

It collects once, forks its workers from the process that collected, gives
the longest tests out first, and replaces workers that crash.")
set(CPACK_COMPONENT_LIBRARY_DESCRIPTION "libxd runs test suites from a program: the engine behind xdctl, with one C
header, events and results.

This package holds the shared library.")
set(CPACK_COMPONENT_DEVELOPMENT_DESCRIPTION "libxd runs test suites from a program: the engine behind xdctl, with one C
header, events and results.

This package holds the header, the static library, the files for pkg-config
and CMake, and the manual page.")

# What policy asks of every package: copyright and changelog.
find_program(GZIP gzip)
foreach(component IN LISTS CPACK_COMPONENTS_ALL)
    string(TOUPPER ${component} upper)
    set(CPACK_DEBIAN_${upper}_PACKAGE_NAME ${XD_NAME_${component}})
endforeach()
if(GZIP AND CMAKE_INSTALL_PREFIX STREQUAL /usr)
    set(made ${CMAKE_BINARY_DIR}/debian)
    file(READ ${PROJECT_SOURCE_DIR}/LICENSE license)
    string(STRIP "${license}" license)
    string(REPLACE "\n\n" "\n.\n" license "${license}")
    string(REPLACE "\n" "\n " license "${license}")
    file(WRITE ${made}/copyright "Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\nUpstream-Name: xd\nComment: xdctl and libxd contain toml++ 3, Copyright Mark Gillard <mark.gillard@outlook.com.au>, under the Expat licence, too.\n\nFiles: *\nCopyright: the xd developers\nLicense: Expat\n ${license}\n")
    string(TIMESTAMP now "%a, %d %b %Y %H:%M:%S +0000" UTC)
    file(WRITE ${made}/changelog "xd (${PROJECT_VERSION}-1) unstable; urgency=medium\n\n  * Release ${PROJECT_VERSION}; CHANGELOG.md of the source tells what it brings.\n\n -- ${CPACK_PACKAGE_CONTACT}  ${now}\n")
    execute_process(COMMAND ${GZIP} -9nc ${made}/changelog OUTPUT_FILE ${made}/changelog.Debian.gz COMMAND_ERROR_IS_FATAL ANY)
    execute_process(COMMAND ${GZIP} -9nc ${PROJECT_SOURCE_DIR}/CHANGELOG.md OUTPUT_FILE ${made}/changelog.gz COMMAND_ERROR_IS_FATAL ANY)
    foreach(component IN LISTS CPACK_COMPONENTS_ALL)
        install(FILES ${made}/copyright ${made}/changelog.Debian.gz ${made}/changelog.gz DESTINATION ${CMAKE_INSTALL_DATADIR}/doc/${XD_NAME_${component}} COMPONENT ${component})
    endforeach()
    # Static on purpose: they are to run on hosts where nothing is installed.
    file(WRITE ${made}/xdctl "xdctl: statically-linked-binary [usr/libexec/xd/xdagent]\nxdctl: statically-linked-binary [usr/libexec/xd/xdserve]\n")
    file(WRITE ${made}/triggers "activate-noawait ldconfig\n")
    # The user of the units; none of them is enabled by being installed.
    file(WRITE ${made}/postinst "#!/bin/sh\nset -e\nif [ \"$1\" = configure ] && command -v systemd-sysusers >/dev/null; then\n    systemd-sysusers xdctl.conf\n    systemd-tmpfiles --create xdctl.conf || true\nfi\n")
    file(CHMOD ${made}/postinst PERMISSIONS OWNER_READ OWNER_WRITE OWNER_EXECUTE GROUP_READ GROUP_EXECUTE WORLD_READ WORLD_EXECUTE)
    set(CPACK_DEBIAN_PROGRAMS_PACKAGE_CONTROL_EXTRA ${made}/postinst)
    set(CPACK_DEBIAN_LIBRARY_PACKAGE_CONTROL_EXTRA ${made}/triggers)
    install(FILES ${made}/xdctl DESTINATION ${CMAKE_INSTALL_DATADIR}/lintian/overrides COMPONENT programs)
endif()
include(CPack)
