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

/** How much of a transfer must bypass the page cache. */
@VintfStability
@Backing(type="int")
enum Mode {
    /** The best path there is; never fails because direct I/O is not possible. */
    AUTO = 0,
    /**
     * Every body byte by direct I/O. Fails with Error.NOT_DIRECT before any byte moves if that is
     * not possible. Edges of at most one page each are still copied. Should the file system copy a
     * body all the same, which it does not tell, the receipt says so where that can be checked.
     */
    DIRECT = 1,
    /** Everything through the page cache. */
    BUFFERED = 2,
}
