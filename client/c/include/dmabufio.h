#ifndef DMABUFIO_H
#define DMABUFIO_H

/* Made from client/c/src by the test client/c/tests/header.rs. Do not edit. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* docs/c-api.md explains this interface. */

// The size of a type's name with its final zero byte.
#define DMABUFIO_DTYPE_SIZE 16

// The kind of a failure.
enum dmabufio_error_kind {
  // There is no error.
  DMABUFIO_ERROR_KIND_NONE = 0,
  // An argument is malformed.
  DMABUFIO_ERROR_KIND_INVALID_REQUEST = 1,
  // A descriptor is of the wrong type or lacks the access that the request needs.
  DMABUFIO_ERROR_KIND_BAD_DESCRIPTOR = 2,
  // The kernel, or the policy of the device, refuses access.
  DMABUFIO_ERROR_KIND_PERMISSION_DENIED = 3,
  // The operation is not possible with this kernel, buffer, file or service.
  DMABUFIO_ERROR_KIND_UNSUPPORTED = 4,
  // The caller demanded direct I/O, but not all bytes can go direct. No byte has moved.
  DMABUFIO_ERROR_KIND_NOT_DIRECT = 5,
  // A resource is busy: retry later.
  DMABUFIO_ERROR_KIND_BUSY = 6,
  // Not enough memory, or not enough descriptors.
  DMABUFIO_ERROR_KIND_NO_MEMORY = 7,
  // This user would exceed its quota. The text names the limit and the use.
  DMABUFIO_ERROR_KIND_QUOTA_EXCEEDED = 8,
  // No space or quota on the file system, or above the size cap of a store.
  DMABUFIO_ERROR_KIND_NO_SPACE = 9,
  // The file made no progress.
  DMABUFIO_ERROR_KIND_TIMED_OUT = 10,
  // The caller cancelled the request.
  DMABUFIO_ERROR_KIND_CANCELLED = 11,
  // Anything else that the kernel reports.
  DMABUFIO_ERROR_KIND_IO = 12,
  // The service cannot be reached.
  DMABUFIO_ERROR_KIND_UNREACHABLE = 13,
  // The service died before it answered. What it has done is unknown; the caller may make the
  // request again. Buffers stay valid.
  DMABUFIO_ERROR_KIND_DIED = 14,
  // The model or the snapshot contradicts its format. The text names the field and the offset.
  DMABUFIO_ERROR_KIND_MALFORMED = 15,
  // There is no such tensor or snapshot.
  DMABUFIO_ERROR_KIND_NOT_FOUND = 16,
  // A bug in this library.
  DMABUFIO_ERROR_KIND_INTERNAL = 17,
};

// The permitted use of mapped memory.
enum dmabufio_access {
  // Reading.
  DMABUFIO_ACCESS_READ = 1,
  // Reading and writing.
  DMABUFIO_ACCESS_READ_WRITE = 2,
};

// The direction of a transfer.
enum dmabufio_direction {
  // From the file into the buffer.
  DMABUFIO_DIRECTION_LOAD = 1,
  // From the buffer into the file.
  DMABUFIO_DIRECTION_SAVE = 2,
};

// What of a save must be on stable storage when the call returns.
enum dmabufio_durability {
  // Nothing.
  DMABUFIO_DURABILITY_NONE = 0,
  // The data, as with `fdatasync(2)`.
  DMABUFIO_DURABILITY_DATA = 1,
  // The data and all metadata, as with `fsync(2)`.
  DMABUFIO_DURABILITY_FULL = 2,
};

// The reason why bytes did not take the best path.
enum dmabufio_fallback_reason {
  // They did.
  DMABUFIO_FALLBACK_REASON_NONE = 0,
  // The caller asked for the page cache.
  DMABUFIO_FALLBACK_REASON_REQUESTED = 1,
  // The kernel has no `DMA_BUF_IOCTL_RW_FILE`.
  DMABUFIO_FALLBACK_REASON_NO_IOCTL = 2,
  // The exporter of the buffer does not implement it.
  DMABUFIO_FALLBACK_REASON_EXPORTER = 3,
  // A device is attached to the buffer, or the kernel has mapped it.
  DMABUFIO_FALLBACK_REASON_BUFFER_BUSY = 4,
  // The file, or its file system, cannot do direct I/O.
  DMABUFIO_FALLBACK_REASON_FILE_NOT_DIRECT = 5,
  // A user-space daemon serves the file system.
  DMABUFIO_FALLBACK_REASON_FILE_SYSTEM_STALLS = 6,
  // File offset and buffer offset differ modulo the page size.
  DMABUFIO_FALLBACK_REASON_UNALIGNED = 7,
  // The method needs a descriptor that was opened with `O_DIRECT`.
  DMABUFIO_FALLBACK_REASON_DESCRIPTOR_NOT_DIRECT = 8,
  // The page cache holds most of it already.
  DMABUFIO_FALLBACK_REASON_RESIDENT = 9,
  // The file has fs-verity.
  DMABUFIO_FALLBACK_REASON_FILE_VERITY = 10,
  // The file is compressed.
  DMABUFIO_FALLBACK_REASON_FILE_COMPRESSED = 11,
  // The file is encrypted without inline encryption.
  DMABUFIO_FALLBACK_REASON_FILE_ENCRYPTED = 12,
  // The data of the file lies in its inode.
  DMABUFIO_FALLBACK_REASON_FILE_INLINE_DATA = 13,
};

// A source of buffers.
enum dmabufio_heap {
  // `/dev/dma_heap/system`: the product.
  DMABUFIO_HEAP_SYSTEM = 1,
  // A memfd wrapped by `/dev/udmabuf`.
  DMABUFIO_HEAP_UDMABUF = 2,
  // A plain memfd: no device node, no root, and no dma-buf. For hosts and tests.
  DMABUFIO_HEAP_MEMFD = 3,
  // `/dev/dma_heap/system-direct`, the heap of the vendor module.
  DMABUFIO_HEAP_SYSTEM_DIRECT = 4,
};

// A way of moving bytes between a file and a buffer.
enum dmabufio_method {
  // No bytes moved.
  DMABUFIO_METHOD_NONE = 0,
  // `DMA_BUF_IOCTL_RW_FILE` with direct I/O.
  DMABUFIO_METHOD_RW_FILE_DIRECT = 1,
  // `DMA_BUF_IOCTL_RW_FILE` through the page cache.
  DMABUFIO_METHOD_RW_FILE_BUFFERED = 2,
  // Direct I/O on a mapping of the buffer.
  DMABUFIO_METHOD_MAPPED_DIRECT = 3,
  // Read or write on a mapping of the buffer, through the page cache.
  DMABUFIO_METHOD_MAPPED_BUFFERED = 4,
};

// Whether a transfer bypasses the page cache.
enum dmabufio_mode {
  // The best path there is.
  DMABUFIO_MODE_AUTO = 0,
  // All of it by direct I/O except the edges, or nothing.
  DMABUFIO_MODE_DIRECT = 1,
  // Nothing by direct I/O.
  DMABUFIO_MODE_BUFFERED = 2,
};

// Who waits for a request.
enum dmabufio_priority {
  // A person.
  DMABUFIO_PRIORITY_INTERACTIVE = 0,
  // A program.
  DMABUFIO_PRIORITY_NORMAL = 1,
  // Nobody.
  DMABUFIO_PRIORITY_BACKGROUND = 2,
};

// Which of the snapshots of a task.
enum dmabufio_variant {
  // All pixels.
  DMABUFIO_VARIANT_FULL = 1,
  // Half the width and half the height.
  DMABUFIO_VARIANT_REDUCED = 2,
};

// Requests that the service works on.
struct dmabufio_batch;

// A connection to the service, or the work in this process without it.
struct dmabufio_client;

// A failure: a kind for programs and a text for people.
struct dmabufio_error;

// Memory of a buffer, between the begin and the end of access by the CPU.
struct dmabufio_mapping;

// The tensors of one or several files.
struct dmabufio_model;

// A folder of task snapshots.
struct dmabufio_snapshot_store;

// Tensors in buffers.
struct dmabufio_tensors;

// The abilities of a client on this machine.
struct dmabufio_capabilities {
  // The heap of the buffers, an `enum dmabufio_heap`.
  uint32_t heap;
  // The methods of a transfer that work: bit N is set for the method with the number N.
  uint32_t methods;
  // The same for a load.
  uint32_t load_methods;
  // The largest number of extents in one transfer.
  uint32_t max_extents;
  // The page size in bytes, which is the alignment of direct I/O.
  uint64_t page_size;
  // The size of the largest buffer in bytes.
  uint64_t max_buffer_bytes;
};

// A range of a request, in bytes.
struct dmabufio_extent {
  // Where it begins in the file.
  uint64_t file_offset;
  // Where it begins in the buffer.
  uint64_t buffer_offset;
  // Its length.
  uint64_t len;
};

// A prediction for one extent. The sum of `direct`, `bounced` and `buffered` would move.
struct dmabufio_extent_plan {
  // Bytes that direct I/O would move.
  uint64_t direct;
  // Bytes that the CPU would move at the edges of direct I/O.
  uint64_t bounced;
  // Bytes that the CPU would move because they would not go direct.
  uint64_t buffered;
  // An `enum dmabufio_method`.
  uint32_t method;
  // An `enum dmabufio_fallback_reason`.
  uint32_t reason;
};

// A transfer between a file and a buffer.
struct dmabufio_transfer_request {
  // The buffer: a dma-buf of any allocator.
  int buffer;
  // The file. Its position and flags stay as they are.
  int file;
  // An `enum dmabufio_direction`.
  uint32_t direction;
  // An `enum dmabufio_mode`.
  uint32_t mode;
  // An `enum dmabufio_priority`.
  uint32_t priority;
  // An `enum dmabufio_durability`, for saves.
  uint32_t durability;
  // A name for logs and dumps: printable ASCII, at most 31 bytes, or NULL.
  const char *tag;
  // The ranges to move.
  const struct dmabufio_extent *extents;
  // Their number.
  size_t extent_count;
};

// The report on a transfer. The sum of `direct`, `bounced` and `buffered` moved.
struct dmabufio_receipt {
  // Bytes that direct I/O moved.
  uint64_t direct;
  // Bytes that the CPU moved at the edges of direct I/O.
  uint64_t bounced;
  // Bytes that the CPU moved because they did not go direct.
  uint64_t buffered;
  // The method that moved the most bytes, an `enum dmabufio_method`.
  uint32_t method;
  // The reason of the first fallback, an `enum dmabufio_fallback_reason`.
  uint32_t first_fallback;
  // Time from the arrival of the request to its I/O, and between its turns, in nanoseconds.
  uint64_t queue_ns;
  // Time in I/O, in nanoseconds.
  uint64_t io_ns;
  // Time to make a save durable, in nanoseconds.
  uint64_t sync_ns;
  // Whether the page cache proves that all of `direct` went direct.
  bool checked;
};

// A buffer to allocate and to fill.
struct dmabufio_item {
  // The size of the buffer in bytes.
  uint64_t size;
  // The ranges to load.
  const struct dmabufio_extent *extents;
  // Their number.
  size_t extent_count;
};

// Buffers to allocate and to fill from one file.
struct dmabufio_load_request {
  // The file. Its position and flags stay as they are.
  int file;
  // An `enum dmabufio_mode`.
  uint32_t mode;
  // An `enum dmabufio_priority`.
  uint32_t priority;
  // The purpose of the buffers, for statistics: printable ASCII, at most 31 bytes, or NULL.
  const char *tag;
  // The buffers.
  const struct dmabufio_item *items;
  // Their number.
  size_t item_count;
};

// What became of one buffer of a load, or of one transfer of a batch.
struct dmabufio_outcome {
  // The buffer, which the caller closes with `close(2)`; -1 for a transfer or a failure.
  int buffer;
  // The size of the buffer in bytes.
  uint64_t size;
  // The report, if there is no error.
  struct dmabufio_receipt receipt;
  // The error, which the caller frees; NULL on success.
  struct dmabufio_error *error;
};

// How far a batch is.
struct dmabufio_progress {
  // Bytes that have moved. Never decreases.
  uint64_t bytes;
  // Bytes of all extents.
  uint64_t total;
  // Whether the batch has ended.
  bool ended;
};

// A tensor in a file. Its pointers are valid until the model is freed.
struct dmabufio_tensor {
  // The name, UTF-8, without a final zero byte.
  const char *name;
  // The bytes of the name.
  size_t name_len;
  // The dimensions, the outermost first.
  const uint64_t *shape;
  // The number of dimensions.
  size_t rank;
  // Which of the files of the model it is in, from 0.
  size_t part;
  // Where it begins in that file, in bytes.
  uint64_t offset;
  // Its length in bytes.
  uint64_t len;
  // The type of the elements, in the words of the format: "BF16", "Q4_K".
  char dtype[DMABUFIO_DTYPE_SIZE];
};

// A tensor in a buffer. Its pointer and its buffer are valid until the tensors are freed.
struct dmabufio_view {
  // The dimensions, the outermost first.
  const uint64_t *shape;
  // The number of dimensions.
  size_t rank;
  // Where it begins in the buffer, in bytes.
  uint64_t offset;
  // Its length in bytes.
  uint64_t len;
  // The buffer. Do not close it: `dup(2)` makes a descriptor that lives longer.
  int buffer;
  // The type of the elements, in the words of the format: "BF16", "Q4_K".
  char dtype[DMABUFIO_DTYPE_SIZE];
};

// What the pixels of a snapshot are.
struct dmabufio_picture {
  // Pixels in a row; not 0.
  uint32_t width;
  // Rows; not 0.
  uint32_t height;
  // From the start of a row to the start of the next one, in bytes.
  uint32_t stride;
  // The DRM fourcc of the format: AB24, XB24, AR24, XR24, RG16, AB30 or AB4H.
  uint32_t format;
  // By how much the display was turned, in degrees clockwise: 0, 90, 180 or 270.
  uint32_t rotation;
  // Dots per inch; 0 if unknown.
  uint32_t density;
  // A value of Android's `ADataSpace`.
  uint32_t color_space;
};

// A snapshot in a new buffer.
struct dmabufio_snapshot {
  // What it is.
  struct dmabufio_picture picture;
  // The buffer with the pixels at offset 0, which the caller closes with `close(2)`.
  int buffer;
  // The size of the buffer in bytes.
  uint64_t size;
  // The report on reading the pixels.
  struct dmabufio_receipt receipt;
};

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

// The kind of an error; that of NULL is DMABUFIO_ERROR_KIND_NONE.
enum dmabufio_error_kind dmabufio_error_kind(const struct dmabufio_error *error);

// The errno that the kernel reported; 0 if it reported none.
int dmabufio_error_errno(const struct dmabufio_error *error);

// The text of an error: one line of UTF-8 that names the operation and the operand. It is valid
// until the error is freed. The text of NULL is empty.
const char *dmabufio_error_message(const struct dmabufio_error *error);

// Frees an error. NULL is allowed.
void dmabufio_error_free(struct dmabufio_error *error);

// Connects to the service on kernel binder. NULL on failure.
struct dmabufio_client *dmabufio_client_connect(struct dmabufio_error **error);

// Connects to the service on the Unix socket at `path`. NULL on failure.
struct dmabufio_client *dmabufio_client_connect_socket(const char *path,
                                                       struct dmabufio_error **error);

// A client that does the work in this process, without the service. `heap` is an
// `enum dmabufio_heap`. NULL on failure.
struct dmabufio_client *dmabufio_client_local(uint32_t heap, struct dmabufio_error **error);

// Frees a client. Its buffers stay. NULL is allowed.
void dmabufio_client_free(struct dmabufio_client *client);

// Stores the abilities of `client` on this machine.
bool dmabufio_client_capabilities(const struct dmabufio_client *client,
                                  struct dmabufio_capabilities *capabilities,
                                  struct dmabufio_error **error);

// Allocates a zeroed buffer of at least `size` bytes and returns its descriptor, which the caller
// closes with `close(2)`. `lseek(2)` to its end returns the size. Statistics of the kernel show
// `tag`: printable ASCII, at most 31 bytes, or NULL. -1 on failure.
int dmabufio_client_allocate(const struct dmabufio_client *client,
                             uint64_t size,
                             const char *tag,
                             struct dmabufio_error **error);

// Predicts how a transfer of `extents` would move each of them, without I/O on `file`. Stores one
// plan for each extent.
bool dmabufio_client_probe(const struct dmabufio_client *client,
                           int file,
                           const struct dmabufio_extent *extents,
                           size_t extent_count,
                           struct dmabufio_extent_plan *plans,
                           struct dmabufio_error **error);

// Moves data between a buffer and a file, and stores the report in `*receipt`, which may be NULL.
// Returns when the last byte has moved.
bool dmabufio_client_transfer(const struct dmabufio_client *client,
                              const struct dmabufio_transfer_request *request,
                              struct dmabufio_receipt *receipt,
                              struct dmabufio_error **error);

// Allocates buffers and fills them from a file. Stores one outcome for each item in `outcomes`. A
// malformed request fails as a whole and stores none; after that each item succeeds or fails by
// itself.
bool dmabufio_client_load(const struct dmabufio_client *client,
                          const struct dmabufio_load_request *request,
                          struct dmabufio_outcome *outcomes,
                          struct dmabufio_error **error);

// Passes loads and transfers to the service and returns at once. The service works on them one
// after the other: first the loads, then the transfers. A client of `dmabufio_client_local` cannot
// do this. NULL on failure.
struct dmabufio_batch *dmabufio_client_submit(const struct dmabufio_client *client,
                                              const struct dmabufio_load_request *loads,
                                              size_t load_count,
                                              const struct dmabufio_transfer_request *transfers,
                                              size_t transfer_count,
                                              struct dmabufio_error **error);

// A descriptor that reports a hang-up (POLLHUP) once the batch has ended, for `poll(2)` and
// `epoll(7)`. It belongs to the batch: do not close it. -1 on failure.
int dmabufio_batch_fd(const struct dmabufio_batch *batch, struct dmabufio_error **error);

// Stores how far the batch is. Does not wait for I/O.
bool dmabufio_batch_progress(const struct dmabufio_batch *batch,
                             struct dmabufio_progress *progress,
                             struct dmabufio_error **error);

// Asks the service to end the batch, and does not wait until it has. Requests that had not
// finished by then fail with DMABUFIO_ERROR_KIND_CANCELLED.
bool dmabufio_batch_cancel(const struct dmabufio_batch *batch, struct dmabufio_error **error);

// Waits until the batch has ended, and stores one outcome for each item of each load and then one
// for each transfer. `outcome_count` is their number. Each call returns descriptors of its own for
// the same buffers.
bool dmabufio_batch_wait(const struct dmabufio_batch *batch,
                         struct dmabufio_outcome *outcomes,
                         size_t outcome_count,
                         struct dmabufio_error **error);

// Frees a batch, and cancels it if it has not ended. NULL is allowed.
void dmabufio_batch_free(struct dmabufio_batch *batch);

// Maps `len` bytes of a buffer from byte `offset`, which need not be a multiple of the page, and
// begins access by the CPU (DMA_BUF_IOCTL_SYNC). `access` is an `enum dmabufio_access`. NULL on
// failure.
struct dmabufio_mapping *dmabufio_map(int buffer,
                                      uint64_t offset,
                                      uint64_t len,
                                      uint32_t access,
                                      struct dmabufio_error **error);

// The address of the first byte, until `dmabufio_unmap`. NULL on failure.
void *dmabufio_mapping_data(const struct dmabufio_mapping *mapping, struct dmabufio_error **error);

// Ends the access and unmaps the memory. Devices see the writes of the CPU after that. NULL is
// allowed.
void dmabufio_unmap(struct dmabufio_mapping *mapping);

// Opens the model at `path` and reads its header: a safetensors file, the index of a sharded one
// (`.json`), or a GGUF file, also one of several. NULL on failure.
struct dmabufio_model *dmabufio_model_open(const char *path, struct dmabufio_error **error);

// Opens the model in `len` bytes of `file` from byte `offset`, as in an APK. The caller keeps its
// descriptor, which must not have O_DIRECT. NULL on failure.
struct dmabufio_model *dmabufio_model_open_range(int file,
                                                 uint64_t offset,
                                                 uint64_t len,
                                                 struct dmabufio_error **error);

// Frees a model. Its tensors in buffers stay. NULL is allowed.
void dmabufio_model_free(struct dmabufio_model *model);

// The number of tensors in the files; 0 on failure.
size_t dmabufio_model_tensor_count(const struct dmabufio_model *model,
                                   struct dmabufio_error **error);

// Stores what the file says of the tensor `index`, from 0, in the order of the files.
bool dmabufio_model_tensor(const struct dmabufio_model *model,
                           size_t index,
                           struct dmabufio_tensor *tensor,
                           struct dmabufio_error **error);

// Allocates buffers and loads the tensors whose names match one of `patterns`. In a pattern `*`
// stands for any text and `?` for one character; no patterns mean all tensors. In its buffer each
// tensor begins at a multiple of `alignment`, a power of two up to 65536; 1 keeps the alignment of
// the file. No buffer is larger than `buffer_size` bytes, unless one tensor is; 0 means 64 MiB.
// `mode` is an `enum dmabufio_mode`. NULL on failure.
struct dmabufio_tensors *dmabufio_tensors_load(const struct dmabufio_client *client,
                                               const struct dmabufio_model *model,
                                               const char *const *patterns,
                                               size_t pattern_count,
                                               uint64_t alignment,
                                               uint64_t buffer_size,
                                               uint32_t mode,
                                               struct dmabufio_error **error);

// Allocates the buffers of `dmabufio_tensors_load` and loads nothing: `dmabufio_tensors_fill` loads
// the tensors of a layer or an expert when they are needed. NULL on failure.
struct dmabufio_tensors *dmabufio_tensors_allocate(const struct dmabufio_client *client,
                                                   const struct dmabufio_model *model,
                                                   const char *const *patterns,
                                                   size_t pattern_count,
                                                   uint64_t alignment,
                                                   uint64_t buffer_size,
                                                   struct dmabufio_error **error);

// Loads the tensors that match one of `patterns` into their places in the buffers, again or for the
// first time. `model` is the one that the buffers were planned for. No byte of another tensor changes.
// After a failure, the tensors that match have any content. `receipt` may be NULL.
bool dmabufio_tensors_fill(const struct dmabufio_tensors *tensors,
                           const struct dmabufio_client *client,
                           const struct dmabufio_model *model,
                           const char *const *patterns,
                           size_t pattern_count,
                           uint32_t mode,
                           struct dmabufio_receipt *receipt,
                           struct dmabufio_error **error);

// Stores where the tensor called `name` is.
bool dmabufio_tensors_get(const struct dmabufio_tensors *tensors,
                          const char *name,
                          struct dmabufio_view *view,
                          struct dmabufio_error **error);

// Stores the report of `dmabufio_tensors_load`.
bool dmabufio_tensors_receipt(const struct dmabufio_tensors *tensors,
                              struct dmabufio_receipt *receipt,
                              struct dmabufio_error **error);

// Frees tensors and closes their buffers. NULL is allowed.
void dmabufio_tensors_free(struct dmabufio_tensors *tensors);

// Opens the folder `path`, which has to exist, as a store of snapshots. A save keeps the bytes of
// all snapshots at or below `max_bytes`. NULL on failure.
struct dmabufio_snapshot_store *dmabufio_snapshot_store_open(const char *path,
                                                             uint64_t max_bytes,
                                                             struct dmabufio_error **error);

// Saves the pixels at byte `offset` of `buffer` as the snapshot of a task of a user, in place of
// the one before, with one of half the size beside it if `with_reduced`. On return it is on stable
// storage.
bool dmabufio_snapshot_save(const struct dmabufio_snapshot_store *store,
                            const struct dmabufio_client *client,
                            uint32_t user,
                            uint32_t task,
                            const struct dmabufio_picture *picture,
                            int buffer,
                            uint64_t offset,
                            bool with_reduced,
                            struct dmabufio_error **error);

// Loads the snapshot of a task of a user into a new buffer. `variant` is an
// `enum dmabufio_variant`. A damaged snapshot is an error.
bool dmabufio_snapshot_restore(const struct dmabufio_snapshot_store *store,
                               const struct dmabufio_client *client,
                               uint32_t user,
                               uint32_t task,
                               uint32_t variant,
                               struct dmabufio_snapshot *snapshot,
                               struct dmabufio_error **error);

// Frees a store. The snapshots stay. NULL is allowed.
void dmabufio_snapshot_store_free(struct dmabufio_snapshot_store *store);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* DMABUFIO_H */
