// Loads one tensor of a model into a dma-buf and prints its sum, as a framework would read it.
//
//   load_tensor (service|memfd|SOCKET) MODEL TENSOR
//
// "service" uses the service on kernel binder, SOCKET the service on a Unix socket; "memfd" does the
// work in this process, on any Linux host.
//
//   c++ load_tensor.cpp -Iclient/c/include -ldmabufio_c

#include <cinttypes>
#include <cstdio>
#include <cstring>
#include <memory>

#include "dmabufio.h"

// An owner of a handle, for each type of handle.
template <typename T, void (*Free)(T*)>
struct Freed {
    void operator()(T* handle) const { Free(handle); }
};
template <typename T, void (*Free)(T*)>
using Handle = std::unique_ptr<T, Freed<T, Free>>;

using Client = Handle<dmabufio_client, dmabufio_client_free>;
using Error = Handle<dmabufio_error, dmabufio_error_free>;
using Mapping = Handle<dmabufio_mapping, dmabufio_unmap>;
using Model = Handle<dmabufio_model, dmabufio_model_free>;
using Tensors = Handle<dmabufio_tensors, dmabufio_tensors_free>;

static int fail(dmabufio_error* raw) {
    Error error(raw);
    std::fprintf(stderr, "error %d: %s\n", dmabufio_error_kind(error.get()),
                 dmabufio_error_message(error.get()));
    return 1;
}

static dmabufio_client* connect(const char* way, dmabufio_error** error) {
    if (std::strcmp(way, "service") == 0) {
        return dmabufio_client_connect(error);
    }
    if (std::strcmp(way, "memfd") == 0) {
        return dmabufio_client_local(DMABUFIO_HEAP_MEMFD, error);
    }
    return dmabufio_client_connect_socket(way, error);
}

int main(int argc, char** argv) {
    if (argc != 4) {
        std::fprintf(stderr, "usage: %s (service|memfd|SOCKET) MODEL TENSOR\n", argv[0]);
        return 2;
    }
    dmabufio_error* error = nullptr;
    const char* name = argv[3];

    Client client(connect(argv[1], &error));
    if (!client) {
        return fail(error);
    }
    Model model(dmabufio_model_open(argv[2], &error));
    if (!model) {
        return fail(error);
    }
    // One tensor, at a multiple of 64 bytes as accelerators need it, in a buffer of its own.
    Tensors tensors(dmabufio_tensors_load(client.get(), model.get(), &name, 1, 64, 0,
                                          DMABUFIO_MODE_AUTO, &error));
    if (!tensors) {
        return fail(error);
    }
    dmabufio_view view;
    dmabufio_receipt receipt;
    if (!dmabufio_tensors_get(tensors.get(), name, &view, &error) ||
        !dmabufio_tensors_receipt(tensors.get(), &receipt, &error)) {
        return fail(error);
    }
    std::printf("%s %s", name, view.dtype);
    for (size_t i = 0; i < view.rank; i++) {
        std::printf("%c%" PRIu64, i == 0 ? ' ' : 'x', view.shape[i]);
    }
    // view.buffer is a dma-buf: an accelerator imports it. The CPU maps it.
    Mapping mapping(dmabufio_map(view.buffer, view.offset, view.len, DMABUFIO_ACCESS_READ, &error));
    if (!mapping) {
        return fail(error);
    }
    const void* data = dmabufio_mapping_data(mapping.get(), &error);
    if (data == nullptr) {
        return fail(error);
    }
    uint64_t sum = 0;
    for (uint64_t i = 0; i < view.len; i++) {
        sum += static_cast<const uint8_t*>(data)[i];
    }
    std::printf("\noffset %% 64 %" PRIu64 "\nbytes %" PRIu64 "\nsum of bytes %" PRIu64 "\n",
                view.offset % 64, view.len, sum);
    std::printf("direct %" PRIu64 "\nbounced %" PRIu64 "\nbuffered %" PRIu64 "\n", receipt.direct,
                receipt.bounced, receipt.buffered);
    return 0;
}
