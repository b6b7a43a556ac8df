/* The header is C, and a failure has a text. */

#include <stdio.h>

#include "dmabufio.h"

int main(void) {
    struct dmabufio_error *error = NULL;
    struct dmabufio_client *client = dmabufio_client_local(99, &error);

    if (client != NULL || dmabufio_error_kind(error) != DMABUFIO_ERROR_KIND_INVALID_REQUEST)
        return 1;
    puts(dmabufio_error_message(error));
    dmabufio_error_free(error);
    return 0;
}
