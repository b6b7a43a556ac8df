//! Compares the declarations with the results of a C compiler for the kernel's headers: those of
//! this machine, and `kernel/uapi/dma-buf-rw-file.h` of this project.

use super::*;
use crate::sys::ioctl::opcodes;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::mem::{align_of, offset_of};
use std::process::Command;

const INCLUDES: &str = r#"
#include <stddef.h>
#include <stdio.h>
#include <linux/dma-buf.h>
#include <linux/dma-heap.h>
#include <linux/fs.h>
#include <linux/stat.h>
#include <linux/udmabuf.h>
#include "dma-buf-rw-file.h"
"#;

/// C expressions, with the value that Rust has for them.
fn expectations() -> Vec<(String, u64)> {
    let mut list = Vec::new();
    macro_rules! layout {
        ($name:ident { $($field:ident),* }) => {
            let c = stringify!($name);
            list.push((format!("sizeof(struct {c})"), size_of::<$name>() as u64));
            list.push((format!("_Alignof(struct {c})"), align_of::<$name>() as u64));
            $(list.push((
                format!("offsetof(struct {c}, {})", stringify!($field)),
                offset_of!($name, $field) as u64,
            ));)*
        };
    }
    macro_rules! constants {
        ($($name:ident),*) => { $(list.push((stringify!($name).to_owned(), u64::from($name)));)* };
    }
    layout!(dma_heap_allocation_data { len, fd, fd_flags, heap_flags });
    layout!(dma_buf_sync { flags });
    layout!(dma_buf_rw_file { flags, fd, file_offset, buf_offset, buf_len });
    layout!(dma_buf_rw_extent { file_offset, buf_offset, len, done });
    layout!(dma_buf_rw_extents { flags, fd, count, reserved, extents });
    layout!(udmabuf_create { memfd, flags, offset, size });
    layout!(statx_timestamp { tv_sec, tv_nsec });
    layout!(statx {
        stx_mask,
        stx_blksize,
        stx_attributes,
        stx_nlink,
        stx_uid,
        stx_gid,
        stx_mode,
        stx_ino,
        stx_size,
        stx_blocks,
        stx_attributes_mask,
        stx_atime,
        stx_btime,
        stx_ctime,
        stx_mtime,
        stx_rdev_major,
        stx_rdev_minor,
        stx_dev_major,
        stx_dev_minor,
        stx_mnt_id,
        stx_dio_mem_align,
        stx_dio_offset_align
    });
    constants!(
        DMA_HEAP_FLAG_FILL,
        DMA_BUF_SYNC_READ,
        DMA_BUF_SYNC_WRITE,
        DMA_BUF_SYNC_START,
        DMA_BUF_SYNC_END,
        DMA_BUF_RW_FLAGS_READ,
        DMA_BUF_RW_FLAGS_WRITE,
        DMA_BUF_RW_FLAGS_DIRECT,
        UDMABUF_FLAGS_CLOEXEC,
        STATX_BASIC_STATS,
        STATX_DIOALIGN,
        STATX_ATTR_COMPRESSED,
        STATX_ATTR_ENCRYPTED,
        STATX_ATTR_VERITY,
        FS_INLINE_DATA_FL
    );
    for (name, opcode) in opcodes() {
        list.push((name.to_owned(), u64::from(opcode)));
    }
    list
}

#[test]
#[cfg_attr(target_os = "android", ignore = "needs a C compiler and the kernel's headers")]
fn declarations_equal_those_of_the_kernel_headers() {
    let expectations = expectations();
    let mut source = INCLUDES.to_owned() + "int main(void) {\n";
    for (expression, _) in &expectations {
        writeln!(
            source,
            r#"printf("%s=%llu\n", "{expression}", (unsigned long long)({expression}));"#
        )
        .expect("a string");
    }
    source.push_str("return 0; }\n");
    let dir = tempfile::tempdir().expect("a folder");
    let (c, program) = (dir.path().join("abi.c"), dir.path().join("abi"));
    fs::write(&c, source).expect("write");
    let uapi = concat!(env!("CARGO_MANIFEST_DIR"), "/../kernel/uapi");
    let cc = Command::new("cc").arg("-I").arg(uapi).arg("-o").arg(&program).arg(&c).output();
    let cc = cc.expect("run the C compiler cc: install gcc and linux-libc-dev");
    assert!(cc.status.success(), "{}", String::from_utf8_lossy(&cc.stderr));
    let output = Command::new(&program).output().expect("run the C program").stdout;
    let output = String::from_utf8(output).expect("text");
    let actual: BTreeMap<_, _> = output.lines().filter_map(|line| line.split_once('=')).collect();
    for (expression, expected) in &expectations {
        let value = actual.get(expression.as_str()).and_then(|text| text.parse::<u64>().ok());
        assert_eq!(value, Some(*expected), "{expression}");
    }
}

#[test]
fn rw_file_has_the_published_number() {
    let number = opcodes().into_iter().find(|(name, _)| *name == "DMA_BUF_IOCTL_RW_FILE");
    assert_eq!(number.map(|(_, opcode)| opcode), Some(0x4020_6204));
}
