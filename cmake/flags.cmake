# Warnings, hardening and sanitizers for everything that is ours: target xd_flags.
add_library(xd_flags INTERFACE)
target_include_directories(xd_flags INTERFACE ${PROJECT_SOURCE_DIR})
target_compile_definitions(xd_flags INTERFACE _GNU_SOURCE XD_VERSION="${PROJECT_VERSION}")
target_compile_options(xd_flags INTERFACE -Wall -Wextra -Wshadow -Wconversion -Werror -Werror=format-security
                       -ffile-prefix-map=${PROJECT_SOURCE_DIR}=. -include ${PROJECT_SOURCE_DIR}/engine/base/banned.h)

if(XD_SANITIZE STREQUAL "address")
    set(XD_SANITIZE_FLAGS -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer)
elseif(XD_SANITIZE STREQUAL "thread")
    set(XD_SANITIZE_FLAGS -fsanitize=thread -fno-omit-frame-pointer)
elseif(XD_SANITIZE)
    message(FATAL_ERROR "XD_SANITIZE is address or thread, not ${XD_SANITIZE}")
endif()

if(XD_SANITIZE)
    target_compile_options(xd_flags INTERFACE ${XD_SANITIZE_FLAGS} -g)
    target_link_options(xd_flags INTERFACE ${XD_SANITIZE_FLAGS})
elseif(NOT CMAKE_BUILD_TYPE STREQUAL "Debug")
    target_compile_options(xd_flags INTERFACE -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=3 -fstack-protector-strong -fstack-clash-protection
                           -ftrivial-auto-var-init=zero -fcf-protection=full)
    target_link_options(xd_flags INTERFACE -Wl,-z,relro,-z,now,-z,noexecstack,-z,separate-code)
endif()

# Names this build: a hash over all sources of agent and engine.  Agents of another build are told apart by it.
file(GLOB_RECURSE XD_ID_SOURCES CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/engine/*.[ch] ${PROJECT_SOURCE_DIR}/engine/wire.def
     ${PROJECT_SOURCE_DIR}/actors/runners/* ${PROJECT_SOURCE_DIR}/tools/xdagent/*.[ch])
list(SORT XD_ID_SOURCES)
set(XD_ID_TEXT "")
foreach(f IN LISTS XD_ID_SOURCES)
    if(NOT f MATCHES "__pycache__")
        file(SHA256 ${f} h)
        string(APPEND XD_ID_TEXT ${h})
        set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${f})
    endif()
endforeach()
string(SHA256 XD_BUILD_ID "${XD_ID_TEXT}")
string(SUBSTRING ${XD_BUILD_ID} 0 16 XD_BUILD_ID)
