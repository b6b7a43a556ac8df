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

/** A digest over the bytes that a transfer moved. Capabilities.digests lists the available ones. */
@VintfStability
@Backing(type="int")
enum Digest {
    /** No digest. */
    NONE = 0,
    /** CRC-32C (Castagnoli), four bytes, big endian. */
    CRC32C = 1,
    /** SHA-256, 32 bytes. */
    SHA256 = 2,
}
