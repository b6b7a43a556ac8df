// Calls the functions of the interface with correct and with wrong arguments, without a service.
//
//   local FOLDER
//
// Exits with 0 if everything is as it should be, and otherwise names the line.

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <thread>
#include <vector>

#include "dmabufio.h"

#define EXPECT(condition)                                                 \
    do {                                                                  \
        if (!(condition)) {                                               \
            std::fprintf(stderr, "line %d: %s\n", __LINE__, #condition);  \
            std::exit(1);                                                 \
        }                                                                 \
    } while (0)

// Checks and frees an error.
static void expect_error(int line, dmabufio_error*& error, enum dmabufio_error_kind kind,
                         const char* text) {
    if (dmabufio_error_kind(error) != kind ||
        std::strstr(dmabufio_error_message(error), text) == nullptr) {
        std::fprintf(stderr, "line %d: kind %d: %s\n", line, dmabufio_error_kind(error),
                     dmabufio_error_message(error));
        std::exit(1);
    }
    dmabufio_error_free(error);
    error = nullptr;
}
#define EXPECT_ERROR(kind, text) \
    expect_error(__LINE__, error, DMABUFIO_ERROR_KIND_##kind, text)

static std::vector<uint8_t> pattern(size_t len, unsigned seed) {
    std::vector<uint8_t> bytes(len);
    for (size_t i = 0; i < len; i++) {
        bytes[i] = static_cast<uint8_t>((i * 2654435761u + seed) >> 7);
    }
    return bytes;
}

static void write_file(const std::string& path, const std::vector<uint8_t>& bytes) {
    FILE* file = std::fopen(path.c_str(), "wb");
    EXPECT(file != nullptr);
    EXPECT(std::fwrite(bytes.data(), 1, bytes.size(), file) == bytes.size());
    EXPECT(std::fclose(file) == 0);
}

static void handles(dmabufio_client* client) {
    dmabufio_error* error = nullptr;
    dmabufio_capabilities known;
    int local = 0;
    auto* garbage = reinterpret_cast<dmabufio_client*>(&local);
    EXPECT(!dmabufio_client_capabilities(nullptr, &known, &error));
    EXPECT_ERROR(INVALID_REQUEST, "client: NULL");
    EXPECT(!dmabufio_client_capabilities(garbage, &known, &error));
    EXPECT_ERROR(INVALID_REQUEST, "client: not a handle of this type");
    EXPECT(!dmabufio_batch_cancel(reinterpret_cast<dmabufio_batch*>(client), &error));
    EXPECT_ERROR(INVALID_REQUEST, "batch: not a handle of this type");
    EXPECT(!dmabufio_client_capabilities(client, nullptr, &error));
    EXPECT_ERROR(INVALID_REQUEST, "capabilities: NULL");
    // Nobody asks for the text.
    EXPECT(!dmabufio_client_capabilities(nullptr, &known, nullptr));

    dmabufio_client* freed = dmabufio_client_local(DMABUFIO_HEAP_MEMFD, &error);
    EXPECT(freed != nullptr && error == nullptr);
    dmabufio_client_free(freed);
    dmabufio_client_free(freed);
    dmabufio_client_free(nullptr);
    dmabufio_client_free(garbage);
    EXPECT(!dmabufio_client_capabilities(freed, &known, &error));
    EXPECT_ERROR(INVALID_REQUEST, "already freed");

    EXPECT(dmabufio_client_local(77, &error) == nullptr);
    EXPECT_ERROR(INVALID_REQUEST, "77");
    EXPECT(dmabufio_client_connect_socket("/nowhere", &error) == nullptr);
    EXPECT_ERROR(UNREACHABLE, "/nowhere");
    EXPECT(dmabufio_error_kind(nullptr) == DMABUFIO_ERROR_KIND_NONE);
    EXPECT(std::strlen(dmabufio_error_message(nullptr)) == 0);

    EXPECT(dmabufio_client_capabilities(client, &known, &error));
    EXPECT(known.heap == DMABUFIO_HEAP_MEMFD && known.page_size == (uint64_t)getpagesize());
    EXPECT(known.methods & (1u << DMABUFIO_METHOD_MAPPED_BUFFERED));
    EXPECT(!(known.methods & (1u << DMABUFIO_METHOD_RW_FILE_DIRECT)));
}

static void transfers(dmabufio_client* client, const std::string& folder) {
    dmabufio_error* error = nullptr;
    const size_t len = 300000;
    const auto bytes = pattern(len, 1);
    write_file(folder + "/data", bytes);
    int file = open((folder + "/data").c_str(), O_RDONLY | O_CLOEXEC);
    EXPECT(file >= 0);

    // Two buffers of one load; the second request is wrong by itself.
    dmabufio_extent first = {0, 0, 200000}, second = {200000, 0, 100000}, beyond = {0, 4096, 4096};
    dmabufio_item items[] = {{200000, &first, 1}, {100000, &second, 1}};
    dmabufio_load_request load = {file, DMABUFIO_MODE_AUTO, DMABUFIO_PRIORITY_NORMAL, "c", items, 2};
    dmabufio_outcome outcomes[2];
    EXPECT(dmabufio_client_load(client, &load, outcomes, &error));
    EXPECT(error == nullptr);
    for (int i = 0; i < 2; i++) {
        EXPECT(outcomes[i].error == nullptr && outcomes[i].size >= items[i].size);
        EXPECT(lseek(outcomes[i].buffer, 0, SEEK_END) == (off_t)outcomes[i].size);
        const auto& report = outcomes[i].receipt;
        EXPECT(report.direct + report.bounced + report.buffered == items[i].extents->len);
        // From the middle of a page.
        uint64_t skip = 5000;
        dmabufio_mapping* mapping = dmabufio_map(outcomes[i].buffer, skip, items[i].size - skip,
                                                 DMABUFIO_ACCESS_READ, &error);
        EXPECT(mapping != nullptr);
        const void* data = dmabufio_mapping_data(mapping, &error);
        EXPECT(std::memcmp(data, bytes.data() + items[i].extents->file_offset + skip,
                           items[i].size - skip) == 0);
        dmabufio_unmap(mapping);
        EXPECT(dmabufio_mapping_data(mapping, &error) == nullptr);
        EXPECT_ERROR(INVALID_REQUEST, "mapping: not a handle");
    }
    items[1] = {4096, &beyond, 1};
    EXPECT(!dmabufio_client_load(client, &load, outcomes, &error));
    EXPECT_ERROR(INVALID_REQUEST, "item 1");
    items[1] = {4096, nullptr, 1};
    EXPECT(!dmabufio_client_load(client, &load, outcomes, &error));
    EXPECT_ERROR(INVALID_REQUEST, "extents: NULL");
    items[1] = {100000, &second, 1};
    load.file = 999;
    EXPECT(!dmabufio_client_load(client, &load, outcomes, &error));
    EXPECT(dmabufio_error_errno(error) == EBADF);
    EXPECT_ERROR(BAD_DESCRIPTOR, "file: 999 is not an open descriptor");
    load.file = file;
    load.mode = 9;
    EXPECT(!dmabufio_client_load(client, &load, outcomes, &error));
    EXPECT_ERROR(INVALID_REQUEST, "9");
    load.mode = DMABUFIO_MODE_AUTO;

    // From a buffer to a new file and back.
    int buffer = dmabufio_client_allocate(client, len, nullptr, &error);
    EXPECT(buffer >= 0);
    dmabufio_mapping* mapping = dmabufio_map(buffer, 0, len, DMABUFIO_ACCESS_READ_WRITE, &error);
    EXPECT(mapping != nullptr);
    std::memcpy(dmabufio_mapping_data(mapping, &error), bytes.data(), len);
    dmabufio_unmap(mapping);
    int copy = open((folder + "/copy").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    dmabufio_extent all = {0, 0, len};
    dmabufio_transfer_request save = {buffer, copy, DMABUFIO_DIRECTION_SAVE, DMABUFIO_MODE_AUTO,
                                      DMABUFIO_PRIORITY_NORMAL, DMABUFIO_DURABILITY_DATA, nullptr,
                                      &all, 1};
    dmabufio_receipt receipt;
    EXPECT(dmabufio_client_transfer(client, &save, &receipt, &error));
    EXPECT(receipt.direct + receipt.bounced + receipt.buffered == len);
    std::vector<uint8_t> back(len);
    EXPECT(pread(copy, back.data(), len, 0) == (ssize_t)len && back == bytes);
    EXPECT(dmabufio_client_transfer(client, &save, nullptr, &error));
    save.direction = 0;
    EXPECT(!dmabufio_client_transfer(client, &save, &receipt, &error));
    EXPECT_ERROR(INVALID_REQUEST, "0");

    dmabufio_extent_plan plan;
    EXPECT(dmabufio_client_probe(client, file, &all, 1, &plan, &error));
    EXPECT(plan.direct + plan.bounced + plan.buffered == len);

    EXPECT(dmabufio_map(file, 0, 1, DMABUFIO_ACCESS_READ, &error) == nullptr);
    EXPECT_ERROR(BAD_DESCRIPTOR, "not a dma-buf");
    EXPECT(dmabufio_map(buffer, UINT64_MAX, 2, DMABUFIO_ACCESS_READ, &error) == nullptr);
    EXPECT_ERROR(INVALID_REQUEST, "beyond the end of the buffer");
    EXPECT(dmabufio_map(buffer, 0, 0, DMABUFIO_ACCESS_READ, &error) == nullptr);
    EXPECT_ERROR(INVALID_REQUEST, "no bytes");
    EXPECT(dmabufio_client_submit(client, &load, 1, nullptr, 0, &error) == nullptr);
    EXPECT_ERROR(UNSUPPORTED, "no service");
    close(copy);
    close(buffer);
    close(file);
}

static void models(dmabufio_client* client, const std::string& folder) {
    dmabufio_error* error = nullptr;
    const std::string json =
        "{\"a\":{\"dtype\":\"F32\",\"shape\":[2,3],\"data_offsets\":[0,24]},"
        "\"b\\u0000\":{\"dtype\":\"U8\",\"shape\":[8],\"data_offsets\":[24,32]}}";
    std::vector<uint8_t> file(8);
    file[0] = static_cast<uint8_t>(json.size());
    file.insert(file.end(), json.begin(), json.end());
    const auto data = pattern(32, 2);
    file.insert(file.end(), data.begin(), data.end());
    const std::string path = folder + "/m.safetensors";
    write_file(path, file);

    dmabufio_model* model = dmabufio_model_open(path.c_str(), &error);
    EXPECT(model != nullptr && dmabufio_model_tensor_count(model, &error) == 2);
    dmabufio_tensor tensor;
    EXPECT(dmabufio_model_tensor(model, 0, &tensor, &error));
    EXPECT(tensor.name_len == 1 && tensor.name[0] == 'a' && std::strcmp(tensor.dtype, "F32") == 0);
    EXPECT(tensor.rank == 2 && tensor.shape[0] == 2 && tensor.shape[1] == 3 && tensor.len == 24);
    EXPECT(dmabufio_model_tensor(model, 1, &tensor, &error));
    EXPECT(tensor.name_len == 2 && tensor.name[1] == '\0');
    EXPECT(!dmabufio_model_tensor(model, 2, &tensor, &error));
    EXPECT_ERROR(INVALID_REQUEST, "the model has 2 tensors");

    dmabufio_tensors* tensors =
        dmabufio_tensors_load(client, model, nullptr, 0, 64, 0, DMABUFIO_MODE_AUTO, &error);
    EXPECT(tensors != nullptr);
    dmabufio_view view;
    EXPECT(dmabufio_tensors_get(tensors, "a", &view, &error));
    EXPECT(view.len == 24 && view.offset % 64 == 0 && view.rank == 2);
    dmabufio_mapping* mapping =
        dmabufio_map(view.buffer, view.offset, view.len, DMABUFIO_ACCESS_READ, &error);
    EXPECT(std::memcmp(dmabufio_mapping_data(mapping, &error), data.data(), 24) == 0);
    // A mapping needs neither the tensors nor the model.
    dmabufio_tensors_free(tensors);
    EXPECT(std::memcmp(dmabufio_mapping_data(mapping, &error), data.data(), 24) == 0);
    dmabufio_unmap(mapping);
    EXPECT(!dmabufio_tensors_get(tensors, "a", &view, &error));
    EXPECT_ERROR(INVALID_REQUEST, "tensors: not a handle");

    // A tensor that is loaded later, into a buffer that is there.
    tensors = dmabufio_tensors_allocate(client, model, nullptr, 0, 64, 0, &error);
    EXPECT(tensors != nullptr && dmabufio_tensors_get(tensors, "a", &view, &error));
    mapping = dmabufio_map(view.buffer, view.offset, view.len, DMABUFIO_ACCESS_READ, &error);
    const std::vector<uint8_t> zeros(24);
    EXPECT(std::memcmp(dmabufio_mapping_data(mapping, &error), zeros.data(), 24) == 0);
    dmabufio_unmap(mapping);
    const char* one[] = {"a"};
    dmabufio_receipt filled;
    EXPECT(dmabufio_tensors_fill(
        tensors, client, model, one, 1, DMABUFIO_MODE_AUTO, &filled, &error));
    EXPECT(filled.direct + filled.bounced + filled.buffered == 24);
    EXPECT(dmabufio_tensors_fill(
        tensors, client, model, nullptr, 0, DMABUFIO_MODE_AUTO, nullptr, &error));
    mapping = dmabufio_map(view.buffer, view.offset, view.len, DMABUFIO_ACCESS_READ, &error);
    EXPECT(std::memcmp(dmabufio_mapping_data(mapping, &error), data.data(), 24) == 0);
    dmabufio_unmap(mapping);

    const char* none[] = {"nothing*"};
    EXPECT(!dmabufio_tensors_fill(
        tensors, client, model, none, 1, DMABUFIO_MODE_AUTO, nullptr, &error));
    EXPECT_ERROR(NOT_FOUND, "nothing*");
    EXPECT(!dmabufio_tensors_fill(tensors, client, model, one, 1, 99, nullptr, &error));
    EXPECT_ERROR(INVALID_REQUEST, "mode");
    dmabufio_tensors_free(tensors);
    EXPECT(!dmabufio_tensors_load(client, model, none, 1, 1, 0, DMABUFIO_MODE_AUTO, &error));
    EXPECT_ERROR(NOT_FOUND, "nothing*");
    EXPECT(!dmabufio_tensors_load(client, model, nullptr, 0, 3, 0, DMABUFIO_MODE_AUTO, &error));
    EXPECT_ERROR(INVALID_REQUEST, "alignment 3");
    dmabufio_model_free(model);

    // Inside another file, as in an APK.
    std::vector<uint8_t> apk(777);
    apk.insert(apk.end(), file.begin(), file.end());
    write_file(folder + "/apk", apk);
    int fd = open((folder + "/apk").c_str(), O_RDONLY | O_CLOEXEC);
    model = dmabufio_model_open_range(fd, 777, file.size(), &error);
    EXPECT(model != nullptr);
    EXPECT(dmabufio_model_tensor(model, 0, &tensor, &error));
    EXPECT(tensor.offset == 777 + 8 + json.size());
    dmabufio_model_free(model);
    EXPECT(dmabufio_model_open_range(fd, 777, UINT64_MAX, &error) == nullptr);
    EXPECT_ERROR(MALFORMED, "are left in the file");
    close(fd);
    file[9] = '!';
    write_file(path, file);
    EXPECT(dmabufio_model_open(path.c_str(), &error) == nullptr);
    EXPECT_ERROR(MALFORMED, "m.safetensors");
    EXPECT(dmabufio_model_open((folder + "/none").c_str(), &error) == nullptr);
    EXPECT(dmabufio_error_errno(error) == ENOENT);
    EXPECT_ERROR(IO, "none");
}

static void snapshots(dmabufio_client* client, const std::string& folder) {
    dmabufio_error* error = nullptr;
    dmabufio_picture picture = {60, 40, 240, 0x34324241 /* AB24 */, 90, 420, 0};
    const auto pixels = pattern(240 * 40, 3);
    int buffer = dmabufio_client_allocate(client, pixels.size(), "window", &error);
    dmabufio_mapping* mapping =
        dmabufio_map(buffer, 0, pixels.size(), DMABUFIO_ACCESS_READ_WRITE, &error);
    std::memcpy(dmabufio_mapping_data(mapping, &error), pixels.data(), pixels.size());
    dmabufio_unmap(mapping);

    const std::string path = folder + "/snapshots";
    EXPECT(dmabufio_snapshot_store_open(path.c_str(), 1 << 20, &error) == nullptr);
    EXPECT_ERROR(IO, "snapshots");
    EXPECT(mkdir(path.c_str(), 0700) == 0);
    dmabufio_snapshot_store* store = dmabufio_snapshot_store_open(path.c_str(), 1 << 20, &error);
    EXPECT(store != nullptr);
    EXPECT(dmabufio_snapshot_save(store, client, 0, 7, &picture, buffer, 0, true, &error));
    dmabufio_snapshot snapshot;
    EXPECT(dmabufio_snapshot_restore(store, client, 0, 7, DMABUFIO_VARIANT_FULL, &snapshot,
                                     &error));
    EXPECT(std::memcmp(&snapshot.picture, &picture, sizeof picture) == 0);
    mapping = dmabufio_map(snapshot.buffer, 0, pixels.size(), DMABUFIO_ACCESS_READ, &error);
    EXPECT(std::memcmp(dmabufio_mapping_data(mapping, &error), pixels.data(), pixels.size()) == 0);
    dmabufio_unmap(mapping);
    close(snapshot.buffer);
    EXPECT(dmabufio_snapshot_restore(store, client, 0, 7, DMABUFIO_VARIANT_REDUCED, &snapshot,
                                     &error));
    EXPECT(snapshot.picture.width == 30 && snapshot.picture.height == 20);
    close(snapshot.buffer);
    EXPECT(!dmabufio_snapshot_restore(store, client, 0, 8, DMABUFIO_VARIANT_FULL, &snapshot,
                                      &error));
    EXPECT_ERROR(NOT_FOUND, "task 8 of user 0");
    picture.format = 0;
    EXPECT(!dmabufio_snapshot_save(store, client, 0, 7, &picture, buffer, 0, true, &error));
    EXPECT_ERROR(INVALID_REQUEST, "format 0x00000000");
    dmabufio_snapshot_store_free(store);
    close(buffer);
}

// Handles work, and fail, in many threads at once; each thread has its own errors.
static void threads(dmabufio_client* client) {
    std::vector<std::thread> all;
    for (int i = 0; i < 8; i++) {
        all.emplace_back([=] {
            for (int round = 0; round < 50; round++) {
                dmabufio_error* error = nullptr;
                int buffer = dmabufio_client_allocate(client, 4096, nullptr, &error);
                EXPECT(buffer >= 0 && error == nullptr);
                EXPECT(dmabufio_client_local(1000 + i, &error) == nullptr);
                EXPECT_ERROR(INVALID_REQUEST, std::to_string(1000 + i).c_str());
                close(buffer);
            }
        });
    }
    for (auto& thread : all) {
        thread.join();
    }
}

int main(int argc, char** argv) {
    EXPECT(argc == 2);
    dmabufio_error* error = nullptr;
    dmabufio_client* client = dmabufio_client_local(DMABUFIO_HEAP_MEMFD, &error);
    EXPECT(client != nullptr && error == nullptr);
    handles(client);
    transfers(client, argv[1]);
    models(client, argv[1]);
    snapshots(client, argv[1]);
    threads(client);
    dmabufio_client_free(client);
    return 0;
}
