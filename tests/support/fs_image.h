// All files of a FaultFs as bytes, to be damaged and put back.
//
// Threads: none of its own.
#pragma once

#include <map>
#include <memory>
#include <string>

#include "tests/support/fault_fs.h"

namespace tessera::inline test {

using FsImage = std::map<std::string, std::string>;  // path -> bytes

FsImage Capture(FaultFs& fs);

// Writes one file with the directories it is in, all of it durable.
void PutFile(FaultFs& fs, const std::string& path, const std::string& bytes);

// A file system that has just the image.
std::unique_ptr<FaultFs> Restore(const FsImage& image);

}  // namespace tessera::inline test
