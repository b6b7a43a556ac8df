// Submits a load and a save to the service, waits with poll(2), and compares the data.
//
//   service FOLDER
//
// Prints the bytes of the load that went direct.

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <cinttypes>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "dmabufio.h"

#define EXPECT(condition)                                                                   \
    do {                                                                                    \
        if (!(condition)) {                                                                 \
            std::fprintf(stderr, "line %d: %s: %s\n", __LINE__, #condition,                 \
                         dmabufio_error_message(error));                                    \
            std::exit(1);                                                                   \
        }                                                                                   \
    } while (0)

int main(int argc, char** argv) {
    dmabufio_error* error = nullptr;
    EXPECT(argc == 2);
    const std::string folder = argv[1];
    const size_t len = 4 << 20;
    std::vector<uint8_t> bytes(len);
    for (size_t i = 0; i < len; i++) {
        bytes[i] = static_cast<uint8_t>(i * 2654435761u >> 9);
    }
    int file = open((folder + "/data").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    EXPECT(write(file, bytes.data(), len) == (ssize_t)len && fsync(file) == 0);
    EXPECT(posix_fadvise(file, 0, 0, POSIX_FADV_DONTNEED) == 0);

    dmabufio_client* client = dmabufio_client_connect(&error);
    EXPECT(client != nullptr);
    int source = dmabufio_client_allocate(client, len, "c", &error);
    EXPECT(source >= 0);
    dmabufio_mapping* mapping = dmabufio_map(source, 0, len, DMABUFIO_ACCESS_READ_WRITE, &error);
    EXPECT(mapping != nullptr);
    std::memset(dmabufio_mapping_data(mapping, &error), 'x', len);
    dmabufio_unmap(mapping);
    int copy = open((folder + "/copy").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    EXPECT(copy >= 0);

    dmabufio_extent all = {0, 0, len};
    dmabufio_item item = {len, &all, 1};
    dmabufio_load_request load = {file, DMABUFIO_MODE_AUTO, DMABUFIO_PRIORITY_NORMAL, "c", &item, 1};
    dmabufio_transfer_request save = {source, copy, DMABUFIO_DIRECTION_SAVE, DMABUFIO_MODE_AUTO,
                                      DMABUFIO_PRIORITY_NORMAL, DMABUFIO_DURABILITY_FULL, "c",
                                      &all, 1};
    dmabufio_batch* batch = dmabufio_client_submit(client, &load, 1, &save, 1, &error);
    EXPECT(batch != nullptr);
    pollfd ready = {dmabufio_batch_fd(batch, &error), 0, 0};
    EXPECT(poll(&ready, 1, 60000) == 1 && (ready.revents & POLLHUP));
    dmabufio_progress progress;
    EXPECT(dmabufio_batch_progress(batch, &progress, &error));
    EXPECT(progress.ended && progress.bytes == 2 * len && progress.total == 2 * len);

    dmabufio_outcome outcomes[2];
    EXPECT(!dmabufio_batch_wait(batch, outcomes, 1, &error));
    EXPECT(dmabufio_error_kind(error) == DMABUFIO_ERROR_KIND_INVALID_REQUEST);
    dmabufio_error_free(error);
    EXPECT(dmabufio_batch_wait(batch, outcomes, 2, &error));
    EXPECT(outcomes[0].error == nullptr && outcomes[0].size == len && outcomes[0].buffer >= 0);
    EXPECT(outcomes[1].error == nullptr && outcomes[1].buffer == -1);
    mapping = dmabufio_map(outcomes[0].buffer, 0, len, DMABUFIO_ACCESS_READ, &error);
    EXPECT(mapping != nullptr);
    EXPECT(std::memcmp(dmabufio_mapping_data(mapping, &error), bytes.data(), len) == 0);
    dmabufio_unmap(mapping);
    std::vector<uint8_t> saved(len);
    EXPECT(pread(copy, saved.data(), len, 0) == (ssize_t)len);
    EXPECT(saved == std::vector<uint8_t>(len, 'x'));
    EXPECT(dmabufio_batch_cancel(batch, &error));
    dmabufio_batch_free(batch);
    EXPECT(!dmabufio_batch_cancel(batch, &error));
    EXPECT(dmabufio_error_kind(error) == DMABUFIO_ERROR_KIND_INVALID_REQUEST);
    dmabufio_error_free(error);
    dmabufio_client_free(client);
    std::printf("direct %" PRIu64 "\n", outcomes[0].receipt.direct);
    return 0;
}
