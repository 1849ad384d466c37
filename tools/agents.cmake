# Agents for hosts where nothing is installed (gateways/deliver.h): bin/agents/ARCHITECTURE.{xz,gz,sums}, for this architecture and for each
# other one that a cross compiler is here for.  They are the sources of xdagent, compiled for size: what is sent counts there.
set(XD_AGENT_FLAGS -std=gnu17 -Os -DNDEBUG -D_GNU_SOURCE -DXD_VERSION="${PROJECT_VERSION}" -DXD_BUILD_ID="${XD_BUILD_ID}"
    -I${PROJECT_SOURCE_DIR} -I${CMAKE_BINARY_DIR}/agents/include -include ${PROJECT_SOURCE_DIR}/engine/base/banned.h
    -DXXH_INLINE_ALL -ffunction-sections -fdata-sections -fno-pie -fno-asynchronous-unwind-tables -fstack-protector-strong
    -ffile-prefix-map=${PROJECT_SOURCE_DIR}=.)
set(agent_sources "")
foreach(part xd_base xd_core xd_runners xd_agent)
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

function(xd_agent_for arch compiler strip)
    set(objects "")
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
        add_custom_command(OUTPUT ${object} DEPENDS ${source} DEPFILE ${object}.d VERBATIM COMMENT "agent for ${arch}: ${stem}.c"
                           COMMAND ${CMAKE_C_COMPILER_LAUNCHER} ${compiler} ${XD_AGENT_FLAGS} -MMD -MF ${object}.d -c ${source} -o ${object})
        list(APPEND objects ${object})
    endforeach()
    set(program ${CMAKE_BINARY_DIR}/agents/${arch}/xdagent)
    set(out ${CMAKE_RUNTIME_OUTPUT_DIRECTORY}/agents/${arch})
    # Tables for stack unwinding are a tenth of it, and C code that throws nothing needs none.
    add_custom_command(OUTPUT ${out}.sums ${out}.gz DEPENDS ${objects} ${PROJECT_SOURCE_DIR}/tools/pack.py VERBATIM COMMENT "agent for ${arch}"
                       COMMAND ${compiler} -static -no-pie -Wl,--gc-sections,--build-id=none,-z,relro,-z,noexecstack -o ${program} ${objects}
                       COMMAND ${strip} -s -R .eh_frame -R .eh_frame_hdr -R .gcc_except_table -R .comment ${program}
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
    find_program(XD_STRIP strip) # of binutils: llvm-strip, which CMake takes for clang, refuses the sections of a static program
    xd_agent_for(${native} ${CMAKE_C_COMPILER} ${XD_STRIP})
    foreach(arch x86_64 aarch64)
        if(NOT arch STREQUAL native)
            find_program(XD_CROSS_${arch} ${arch}-linux-gnu-gcc)
            find_program(XD_CROSS_STRIP_${arch} ${arch}-linux-gnu-strip)
            set(whole 1)
            if(XD_CROSS_${arch} AND XD_CROSS_STRIP_${arch}) # Debian only recommends a C library for it
                file(MAKE_DIRECTORY ${CMAKE_BINARY_DIR}/agents/${arch})
                file(WRITE ${CMAKE_BINARY_DIR}/agents/${arch}/try.c "#include <stdio.h>\nint main(void) { return puts(\"\"); }\n")
                execute_process(COMMAND ${XD_CROSS_${arch}} -static -o ${CMAKE_BINARY_DIR}/agents/${arch}/try ${CMAKE_BINARY_DIR}/agents/${arch}/try.c
                                RESULT_VARIABLE whole OUTPUT_QUIET ERROR_QUIET)
            endif()
            if(whole EQUAL 0)
                xd_agent_for(${arch} ${XD_CROSS_${arch}} ${XD_CROSS_STRIP_${arch}})
            else()
                message(STATUS "no ${arch}-linux-gnu-gcc with a C library (packages gcc-${arch}-linux-gnu, libc6-dev-*-cross): hosts of that architecture cannot be sent an agent")
            endif()
        endif()
    endforeach()
endif()
add_custom_target(agents ALL DEPENDS ${agents})
install(DIRECTORY ${CMAKE_RUNTIME_OUTPUT_DIRECTORY}/agents DESTINATION ${CMAKE_INSTALL_LIBEXECDIR}/xd COMPONENT programs
        FILES_MATCHING PATTERN "*.sums" PATTERN "*.gz" PATTERN "*.xz")
