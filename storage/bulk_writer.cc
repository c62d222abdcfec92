#include "storage/bulk_writer.h"

#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "rocksdb/db.h"
#include "rocksdb/env.h"
#include "rocksdb/options.h"
#include "rocksdb/sst_file_writer.h"

#include "base/status_macros.h"
#include "base/strings.h"
#include "storage/rocks/rocks_db.h"
#include "storage/rocks/rocks_status.h"

namespace tessera::storage {
namespace {

constexpr uint64_t kTableFileBytes = uint64_t{64} << 20;

rocksdb::Slice ToSlice(std::string_view bytes) {
  return {bytes.data(), bytes.size()};
}

}  // namespace

struct BulkWriter::Output {
  std::unique_ptr<rocksdb::SstFileWriter> writer;  // null between files
  std::vector<std::string> files;                  // finished ones
  std::string last_key;
  bool has_rows = false;
};

BulkWriter::BulkWriter(std::shared_ptr<RocksDb> db, std::string dir)
    : db_(std::move(db)), dir_(std::move(dir)) {}

absl::StatusOr<std::unique_ptr<BulkWriter>> BulkWriter::Create(std::shared_ptr<RocksDb> db) {
  const std::string parent = BulkDirectory(*db);
  TESSERA_RETURN_IF_ERROR(db->fs.CreateDirectory(parent));
  const std::string dir =
      base::JoinPath(parent, absl::StrCat(db->next_bulk.fetch_add(1, std::memory_order_relaxed)));
  TESSERA_RETURN_IF_ERROR(db->fs.CreateDirectory(dir));
  return std::unique_ptr<BulkWriter>(new BulkWriter(std::move(db), dir));
}

BulkWriter::~BulkWriter() {
  for (std::unique_ptr<Output>& output : outputs_) {
    output.reset();
  }
  static_cast<void>(base::RemoveTree(db_->fs, dir_));  // else the next open does it
}

absl::Status BulkWriter::Begin(Table table, Output* output) {
  output->writer = std::make_unique<rocksdb::SstFileWriter>(
      rocksdb::EnvOptions(), db_->TableFileOptions(table), db_->table(table));
  const std::string path = base::JoinPath(dir_, absl::StrCat(++next_file_, ".sst"));
  output->files.push_back(path);
  return Note(FromRocks(output->writer->Open(path), absl::StrCat("bulk load: creating ", path)));
}

absl::Status BulkWriter::Finish(Output* output) {
  const absl::Status status = FromRocks(
      output->writer->Finish(), absl::StrCat("bulk load: finishing ", output->files.back()));
  output->writer.reset();
  return Note(status);
}

absl::Status BulkWriter::Note(absl::Status status) {
  failed_.Update(status);
  return status;
}

absl::StatusOr<BulkWriter::Output*> BulkWriter::OutputFor(Table table, std::string_view key) {
  if (committed_) {
    return absl::FailedPreconditionError("bulk load: already committed");
  }
  TESSERA_RETURN_IF_ERROR(failed_);
  if (key.size() > kKeyBytesMax) {
    return absl::InvalidArgumentError(
        absl::StrCat("bulk load: row key has ", key.size(), " bytes, the limit is ", kKeyBytesMax));
  }
  std::unique_ptr<Output>& output = outputs_[static_cast<size_t>(table)];
  if (output == nullptr) {
    output = std::make_unique<Output>();
  }
  if (output->has_rows && key <= output->last_key) {
    return absl::InvalidArgumentError(
        absl::StrCat("bulk load: key ", absl::BytesToHexString(base::Sv(key)),
                     " is not behind the last one, ", absl::BytesToHexString(output->last_key)));
  }
  if (output->writer == nullptr) {
    TESSERA_RETURN_IF_ERROR(Begin(table, output.get()));
  }
  return output.get();
}

absl::Status BulkWriter::Added(std::string_view key, Output* output) {
  output->last_key = key;
  output->has_rows = true;
  ++row_count_;
  return output->writer->FileSize() >= kTableFileBytes ? Finish(output) : absl::OkStatus();
}

absl::Status BulkWriter::Put(Table table, std::string_view key, std::string_view value) {
  TESSERA_ASSIGN_OR_RETURN(Output* const output, OutputFor(table, key));
  TESSERA_RETURN_IF_ERROR(Note(
      FromRocks(output->writer->Put(ToSlice(key), ToSlice(value)), "bulk load: adding a row")));
  return Added(key, output);
}

absl::Status BulkWriter::Delete(Table table, std::string_view key) {
  TESSERA_ASSIGN_OR_RETURN(Output* const output, OutputFor(table, key));
  TESSERA_RETURN_IF_ERROR(
      Note(FromRocks(output->writer->Delete(ToSlice(key)), "bulk load: deleting a row")));
  return Added(key, output);
}

absl::Status BulkWriter::Commit() {
  if (committed_) {
    return absl::FailedPreconditionError("bulk load: already committed");
  }
  TESSERA_RETURN_IF_ERROR(failed_);
  std::vector<rocksdb::IngestExternalFileArg> tables;
  for (size_t i = 0; i < kTableCount; ++i) {
    Output* const output = outputs_[i].get();
    if (output == nullptr || !output->has_rows) {
      continue;
    }
    if (output->writer != nullptr) {
      TESSERA_RETURN_IF_ERROR(Finish(output));
    }
    rocksdb::IngestExternalFileArg& arg = tables.emplace_back();
    arg.column_family = db_->table(static_cast<Table>(i));
    arg.external_files = output->files;
    arg.options.move_files = true;
    arg.options.failed_move_fall_back_to_copy = false;
    arg.options.write_global_seqno = false;
  }
  if (!tables.empty()) {
    // What is taken over is durable at once; earlier buffered writes must not be lost behind it.
    TESSERA_RETURN_IF_ERROR(Note(db_->SyncLog()));
    TESSERA_RETURN_IF_ERROR(Note(db_->Write("bulk load: taking over the files",
                                            [&] { return db_->db->IngestExternalFiles(tables); })));
  }
  committed_ = true;
  return absl::OkStatus();
}

}  // namespace tessera::storage
