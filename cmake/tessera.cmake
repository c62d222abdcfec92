# Helpers every folder uses: one library per layer, one test binary per folder.

if(NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE Release CACHE STRING "" FORCE)
endif()
set(CMAKE_CXX_EXTENSIONS OFF)
find_program(CCACHE ccache)
if(CCACHE)
  set(CMAKE_CXX_COMPILER_LAUNCHER ${CCACHE})
endif()

# Flags and definitions of all our targets; third-party headers are SYSTEM and stay quiet.
add_library(tessera_options INTERFACE)
target_compile_features(tessera_options INTERFACE cxx_std_20)
target_include_directories(tessera_options INTERFACE ${PROJECT_SOURCE_DIR})
target_compile_options(tessera_options INTERFACE
  -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wnon-virtual-dtor -Wcast-qual -Wundef
  # GCC's -Wconversion is not about signs; Clang also reports what stable_sort of GCC 12's library
  # uses.
  $<$<CXX_COMPILER_ID:Clang>:-Wthread-safety -Wno-sign-conversion -Wno-deprecated-declarations>
  # GCC 12 reports uninitialised values inside its own intrinsics headers at -O2 and above.
  $<$<CXX_COMPILER_ID:GNU>:-Wno-maybe-uninitialized -Wno-uninitialized>
  $<$<BOOL:${TESSERA_WERROR}>:-Werror>)
target_compile_definitions(tessera_options INTERFACE
  TESSERA_VERSION="${PROJECT_VERSION}" $<$<BOOL:${TESSERA_CHECKS}>:TESSERA_CHECKS=1>)
if(TESSERA_SANITIZE)
  target_compile_options(tessera_options INTERFACE
    -fsanitize=${TESSERA_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=all)
  target_link_options(tessera_options INTERFACE -fsanitize=${TESSERA_SANITIZE})
endif()

# tessera_library(NAME base HDRS ... SRCS ... DEPS ... PRIVATE_DEPS ...): tessera::NAME.
function(tessera_library)
  cmake_parse_arguments(ARG "" "NAME" "HDRS;SRCS;DEPS;PRIVATE_DEPS" ${ARGN})
  add_library(tessera_${ARG_NAME} STATIC ${ARG_HDRS} ${ARG_SRCS})
  add_library(tessera::${ARG_NAME} ALIAS tessera_${ARG_NAME})
  target_link_libraries(tessera_${ARG_NAME} PUBLIC tessera_options ${ARG_DEPS}
                                            PRIVATE ${ARG_PRIVATE_DEPS})
endfunction()

# tessera_test(NAME base SRCS ... DEPS ... [LABELS unit]): one GoogleTest binary, a ctest per case.
function(tessera_test)
  cmake_parse_arguments(ARG "" "NAME;LABEL;TIMEOUT" "SRCS;DEPS" ${ARGN})
  if(NOT ARG_LABEL)
    set(ARG_LABEL unit)
  endif()
  if(NOT ARG_TIMEOUT)
    set(ARG_TIMEOUT 600)
  endif()
  add_executable(${ARG_NAME}_test ${ARG_SRCS})
  target_link_libraries(${ARG_NAME}_test PRIVATE tessera_options ${ARG_DEPS}
                                                 GTest::gmock GTest::gtest_main)
  add_test(NAME ${ARG_NAME} COMMAND ${ARG_NAME}_test)
  set_tests_properties(${ARG_NAME} PROPERTIES LABELS ${ARG_LABEL} TIMEOUT ${ARG_TIMEOUT})
endfunction()
