/*
 * Copyright (C) 2026 The dmabufio authors
 *
 * Licensed under the Apache License, Version 2.0 (the "License");
 * you may not use this file except in compliance with the License.
 * You may obtain a copy of the License at
 *
 *      http://www.apache.org/licenses/LICENSE-2.0
 *
 * Unless required by applicable law or agreed to in writing, software
 * distributed under the License is distributed on an "AS IS" BASIS,
 * WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
 * See the License for the specific language governing permissions and
 * limitations under the License.
 */

package vendor.dmabufio;

/** The source of the buffers of allocate(). */
@VintfStability
@Backing(type="int")
enum Heap {
    /** The system heap, /dev/dma_heap/system. */
    SYSTEM = 1,
    /** A memfd that /dev/udmabuf turns into a dma-buf. */
    UDMABUF = 2,
    /**
     * A plain memfd. It is not a dma-buf, and no device can use it. It is for hosts without device
     * nodes; the service uses it only if its command line asks for it.
     */
    MEMFD = 3,
    /**
     * The heap of the kernel module of this project, /dev/dma_heap/system-direct. Direct I/O can
     * pin the mappings of its buffers.
     */
    SYSTEM_DIRECT = 4,
}
