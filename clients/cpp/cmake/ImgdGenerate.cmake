# Where the generated code is, and how this project's own code is compiled.
set(IMGD_GENERATED "${CMAKE_CURRENT_BINARY_DIR}/generated")
set(IMGD_WARNINGS -Wall -Wextra -Wpedantic -Wshadow -Wnon-virtual-dtor -Werror)

# imgd_generate(SOURCES ROOT PROTO...): what the installed protoc makes of files below ROOT, and the
# gRPC plugin of those that are services. Sets the variable SOURCES to the C++ files.
function(imgd_generate sources root)
    get_target_property(plugin gRPC::grpc_cpp_plugin LOCATION)
    set(made "")
    foreach(proto IN LISTS ARGN)
        string(REGEX REPLACE "\\.proto$" "" stem "${IMGD_GENERATED}/${proto}")
        set(files "${stem}.pb.cc" "${stem}.pb.h")
        set(options "")
        if(proto MATCHES "_service\\.proto$")
            list(APPEND files "${stem}.grpc.pb.cc" "${stem}.grpc.pb.h")
            set(options "--plugin=protoc-gen-grpc=${plugin}" "--grpc_out=${IMGD_GENERATED}")
        endif()
        add_custom_command(OUTPUT ${files}
            COMMAND "${CMAKE_COMMAND}" -E make_directory "${IMGD_GENERATED}"
            COMMAND protobuf::protoc -I "${root}" -I "${IMGD_PROTOS}" "--cpp_out=${IMGD_GENERATED}" ${options}
                "${root}/${proto}"
            DEPENDS "${root}/${proto}" COMMENT "Generating from ${proto}" VERBATIM)
        # Messages of several files do not fit into one unit; stubs do, and read gRPC's headers once.
        set_source_files_properties("${stem}.pb.cc" PROPERTIES SKIP_UNITY_BUILD_INCLUSION ON)
        list(APPEND made ${files})
    endforeach()
    set(${sources} ${made} PARENT_SCOPE)
endfunction()
