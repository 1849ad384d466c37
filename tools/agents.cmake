# Agents for hosts where nothing is installed (gateways/deliver.h): bin/agents/ARCHITECTURE.{xz,gz,sums}, for this architecture and for each
# other one that a cross compiler is here for.  They are the sources of xdagent, compiled for size: what is sent counts there.
# Compiled in the folder of tools/ in the build, with paths relative to it: ccache takes an object of another build of the same sources then.
set(XD_AGENT_FLAGS -std=gnu17 -Os -DNDEBUG -D_GNU_SOURCE -DXD_VERSION="${PROJECT_VERSION}" -DXD_BUILD_ID="${XD_BUILD_ID}"
    -I${PROJECT_SOURCE_DIR} -I../agents/include -include ${PROJECT_SOURCE_DIR}/engine/base/banned.h
    -DXXH_INLINE_ALL -ffunction-sections -fdata-sections -fno-pie -fno-asynchronous-unwind-tables -fstack-protector-strong
    -ffile-prefix-map=${PROJECT_SOURCE_DIR}=.)
set(XD_AGENT_LINK -static -no-pie -s -Wl,--gc-sections,--build-id=none,-z,relro,-z,noexecstack,-T,${PROJECT_SOURCE_DIR}/tools/agent.ld)
set(agent_sources "")
foreach(part xd_base xd_core xd_sync xd_sync_far xd_runners xd_agent)
    get_target_property(sources ${part} SOURCES)
    list(APPEND agent_sources ${sources})
endforeach()
list(APPEND agent_sources ${CMAKE_CURRENT_SOURCE_DIR}/xdagent/main.c)
set(embedded ${PROJECT_BINARY_DIR}/actors/embedded_python.c)

# Headers without code of their own, apart from this machine's C library, which a cross compiler must not see.
foreach(header xxhash.h uthash.h)
    find_path(XD_DIR_${header} ${header})
    configure_file(${XD_DIR_${header}}/${header} ${CMAKE_BINARY_DIR}/agents/include/${header} COPYONLY)
endforeach()

# agent_libc.c takes the place of much of glibc, where that library is one that lets it.
function(xd_agent_libc arch compiler ret)
    set(${ret} "" PARENT_SCOPE)
    set(dir ${CMAKE_BINARY_DIR}/agents/${arch})
    set(source ${PROJECT_SOURCE_DIR}/tools/agent_libc.c)
    set(command ${compiler} -std=gnu17 -Os -D_GNU_SOURCE -ffunction-sections -fdata-sections -fno-pie -fno-asynchronous-unwind-tables
        -fstack-protector-strong -fno-builtin)
    file(WRITE ${dir}/whole.c "#include <pthread.h>\n#include <stdio.h>\nstatic void *run(void *a) { return a; }\nint main(void) { pthread_t t; return pthread_create(&t, NULL, run, NULL) || pthread_join(t, NULL) || printf(\"%g\", 0.5) != 3; }\n")
    execute_process(COMMAND ${command} ${XD_AGENT_LINK} -Wl,-z,muldefs -o ${dir}/whole ${source} ${dir}/whole.c
                    RESULT_VARIABLE linked OUTPUT_QUIET ERROR_QUIET)
    if(linked EQUAL 0 AND arch STREQUAL "${native}")
        execute_process(COMMAND ${dir}/whole RESULT_VARIABLE linked OUTPUT_QUIET ERROR_QUIET)
    endif()
    if(NOT linked EQUAL 0)
        message(STATUS "the agent for ${arch} takes the whole C library along: tools/agent_libc.c does not fit it")
        return()
    endif()
    set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${source})
    add_custom_command(OUTPUT ${dir}/agent_libc.o DEPENDS ${source} VERBATIM COMMENT "agent for ${arch}: agent_libc.c"
                       COMMAND ${CMAKE_C_COMPILER_LAUNCHER} ${command} -c ${source} -o ${dir}/agent_libc.o)
    set(${ret} ${dir}/agent_libc.o PARENT_SCOPE)
endfunction()

# The decoder of libzstd.a, where there is one for that architecture (a cross compiler's: package libzstd-dev:ARCHITECTURE).  Sources see it by
# XD_WITH_ZSTD; what they do not call is not linked.  ret: what to link, empty = there is none.
function(xd_agent_zstd arch compiler ret)
    set(${ret} "" PARENT_SCOPE)
    find_path(XD_DIR_zstd.h zstd.h)
    find_library(XD_ZSTD_${arch} libzstd.a PATHS /usr/lib/${arch}-linux-gnu /usr/${arch}-linux-gnu/lib NO_DEFAULT_PATH)
    if(arch STREQUAL "${native}")
        find_library(XD_ZSTD_${arch} libzstd.a)
    endif()
    if(NOT XD_DIR_zstd.h OR NOT XD_ZSTD_${arch})
        return()
    endif()
    configure_file(${XD_DIR_zstd.h}/zstd.h ${CMAKE_BINARY_DIR}/agents/include/zstd.h COPYONLY)
    set(dir ${CMAKE_BINARY_DIR}/agents/${arch})
    set(source ${PROJECT_SOURCE_DIR}/tools/agent_zstd.c)
    set(command ${compiler} -std=gnu17 -Os -I${CMAKE_BINARY_DIR}/agents/include -ffunction-sections -fdata-sections -fno-pie
        -fno-asynchronous-unwind-tables -fstack-protector-strong)
    execute_process(COMMAND ${command} -DXD_TRY ${XD_AGENT_LINK} -o ${dir}/try_zstd ${source} ${XD_ZSTD_${arch}}
                    RESULT_VARIABLE linked OUTPUT_QUIET ERROR_QUIET)
    if(linked EQUAL 0 AND arch STREQUAL "${native}")
        execute_process(COMMAND ${dir}/try_zstd RESULT_VARIABLE linked OUTPUT_QUIET ERROR_QUIET)
    endif()
    if(NOT linked EQUAL 0)
        message(STATUS "the agent for ${arch} does without zstd: ${XD_ZSTD_${arch}} is not as tools/agent_zstd.c takes it")
        return()
    endif()
    set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${source})
    add_custom_command(OUTPUT ${dir}/agent_zstd.o DEPENDS ${source} VERBATIM COMMENT "agent for ${arch}: agent_zstd.c"
                       COMMAND ${CMAKE_C_COMPILER_LAUNCHER} ${command} -c ${source} -o ${dir}/agent_zstd.o)
    set(${ret} ${dir}/agent_zstd.o ${XD_ZSTD_${arch}} PARENT_SCOPE)
endfunction()

function(xd_agent_for arch compiler)
    xd_agent_libc(${arch} ${compiler} objects)
    set(link ${XD_AGENT_LINK})
    if(objects)
        list(APPEND link -Wl,-z,muldefs)
    endif()
    xd_agent_zstd(${arch} ${compiler} zstd)
    set(flags ${XD_AGENT_FLAGS})
    if(zstd)
        list(APPEND flags -DXD_WITH_ZSTD=1)
    endif()
    foreach(source IN LISTS agent_sources)
        cmake_path(IS_RELATIVE source relative)
        if(relative)
            foreach(dir engine actors)
                if(EXISTS ${PROJECT_SOURCE_DIR}/${dir}/${source})
                    cmake_path(ABSOLUTE_PATH source BASE_DIRECTORY ${PROJECT_SOURCE_DIR}/${dir})
                endif()
            endforeach()
        endif()
        string(MD5 name ${source})
        cmake_path(GET source STEM stem)
        set(object ${CMAKE_BINARY_DIR}/agents/${arch}/${stem}-${name}.o)
        add_custom_command(OUTPUT ${object} DEPENDS ${source} DEPFILE ${object}.d VERBATIM COMMENT "agent for ${arch}: ${stem}.c" WORKING_DIRECTORY ${CMAKE_CURRENT_BINARY_DIR}
                           COMMAND ${CMAKE_C_COMPILER_LAUNCHER} ${compiler} ${flags} -MMD -MF ${object}.d -c ${source} -o ${object})
        list(APPEND objects ${object})
    endforeach()
    list(APPEND objects ${zstd})
    set(program ${CMAKE_BINARY_DIR}/agents/${arch}/xdagent)
    set(out ${CMAKE_RUNTIME_OUTPUT_DIRECTORY}/agents/${arch})
    add_custom_command(OUTPUT ${out}.sums ${out}.gz VERBATIM COMMENT "agent for ${arch}"
                       DEPENDS ${objects} ${PROJECT_SOURCE_DIR}/tools/agent.ld ${PROJECT_SOURCE_DIR}/tools/pack.py
                       COMMAND ${compiler} ${link} -o ${program} ${objects}
                       COMMAND Python3::Interpreter ${PROJECT_SOURCE_DIR}/tools/pack.py ${program} ${out} ${XD_BUILD_ID})
    set(agents ${agents} ${out}.sums PARENT_SCOPE)
endfunction()

file(MAKE_DIRECTORY ${CMAKE_RUNTIME_OUTPUT_DIRECTORY}/agents)
set(agents "")
if(NOT XD_FUZZ)
    string(TOLOWER ${CMAKE_SYSTEM_PROCESSOR} native)
    string(REPLACE amd64 x86_64 native ${native})
    string(REPLACE arm64 aarch64 native ${native})
    file(MAKE_DIRECTORY ${CMAKE_BINARY_DIR}/agents/${native})
    xd_agent_for(${native} ${CMAKE_C_COMPILER})
    foreach(arch x86_64 aarch64)
        if(NOT arch STREQUAL native)
            find_program(XD_CROSS_${arch} ${arch}-linux-gnu-gcc)
            set(whole 1)
            if(XD_CROSS_${arch}) # Debian only recommends a C library for it
                file(MAKE_DIRECTORY ${CMAKE_BINARY_DIR}/agents/${arch})
                file(WRITE ${CMAKE_BINARY_DIR}/agents/${arch}/try.c "#include <stdio.h>\nint main(void) { return puts(\"\"); }\n")
                execute_process(COMMAND ${XD_CROSS_${arch}} -static -o ${CMAKE_BINARY_DIR}/agents/${arch}/try ${CMAKE_BINARY_DIR}/agents/${arch}/try.c
                                RESULT_VARIABLE whole OUTPUT_QUIET ERROR_QUIET)
            endif()
            if(whole EQUAL 0)
                xd_agent_for(${arch} ${XD_CROSS_${arch}})
            else()
                message(STATUS "no ${arch}-linux-gnu-gcc with a C library (packages gcc-${arch}-linux-gnu, libc6-dev-*-cross): hosts of that architecture cannot be sent an agent")
            endif()
        endif()
    endforeach()
endif()
add_custom_target(agents ALL DEPENDS ${agents})
install(DIRECTORY ${CMAKE_RUNTIME_OUTPUT_DIRECTORY}/agents DESTINATION ${CMAKE_INSTALL_LIBEXECDIR}/xd COMPONENT programs
        FILES_MATCHING PATTERN "*.sums" PATTERN "*.gz" PATTERN "*.xz")
