//! Parcels for the methods of the service that hardly make sense.

use super::fixture::list;
use super::Random;
use binder_shim::{pfd, ParcelFileDescriptor, SpIBinder};
use rsbinder::{
    Parcel, StatusCode, TransactionCode, FIRST_CALL_TRANSACTION, LAST_CALL_TRANSACTION,
    PING_TRANSACTION,
};
use rustix::event::{eventfd, EventfdFlags};
use rustix::fs::{memfd_create, MemfdFlags, Mode as FileMode, OFlags};
use rustix::pipe::pipe;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use vendor_dmabufio::aidl::vendor::dmabufio::{
    BufferDesc::BufferDesc, Direction::Direction, Durability::Durability, Extent::Extent,
    LoadItem::LoadItem, LoadRequest::LoadRequest, Mode::Mode, Priority::Priority,
    StreamRequest::StreamRequest, SubmitRequest::SubmitRequest, TransferRequest::TransferRequest,
};

/// The size of the file and of the buffer.
pub const LEN: i64 = 64 << 10;

/// Makes values and parcels.
pub struct RandomParcels {
    random: Random,
    /// A buffer, a file to read, one to write, and what is neither.
    descriptors: Vec<OwnedFd>,
    binder: SpIBinder,
}

impl RandomParcels {
    pub fn new(seed: u64, [buffer, source, saved]: [OwnedFd; 3], binder: SpIBinder) -> Self {
        let (reader, writer) = pipe().expect("pipe");
        let open = |path: &str, flags| {
            rustix::fs::open(path, flags | OFlags::CLOEXEC, FileMode::empty()).expect("open")
        };
        // Nobody reads what a transaction makes the service write there.
        let descriptors = vec![
            buffer,
            source,
            saved,
            reader,
            writer,
            eventfd(0, EventfdFlags::CLOEXEC).expect("eventfd"),
            UnixStream::pair().expect("sockets").0.into(),
            memfd_create("foreign", MemfdFlags::CLOEXEC).expect("memfd"),
            open("/dev/null", OFlags::RDWR),
            open("/dev/zero", OFlags::RDONLY),
            open("/proc/self/maps", OFlags::RDONLY),
            open("/", OFlags::RDONLY),
            open("/", OFlags::PATH),
        ];
        Self { random: Random::new(seed), descriptors, binder }
    }

    pub fn below(&mut self, limit: usize) -> usize {
        self.random.below(limit as u64) as usize
    }

    pub fn one_in(&mut self, n: u64) -> bool {
        self.random.below(n) == 0
    }

    /// A code that may name no method.
    pub fn code(&mut self) -> TransactionCode {
        match self.below(4) {
            0 => FIRST_CALL_TRANSACTION + self.below(20) as u32,
            1 => LAST_CALL_TRANSACTION - self.below(8) as u32,
            2 => PING_TRANSACTION,
            _ => self.random.next() as u32,
        }
    }

    /// A number that somebody may have forgotten to think of, or a small one.
    fn word(&mut self) -> i32 {
        match self.below(8) {
            0 => 0,
            1 => -1,
            2 => i32::MAX,
            3 => i32::MIN + self.below(3) as i32,
            4 => self.below(8) as i32 * 4096,
            5 => self.below(4) as i32,
            6 => self.below(1 << 18) as i32,
            _ => !(self.below(1 << 31) as i32),
        }
    }

    fn number(&mut self) -> i64 {
        match self.below(6) {
            0 => i64::from(self.word()),
            1 => i64::MAX - self.below(5000) as i64,
            2 => self.below(17) as i64 * 4096,
            3 => self.below(4) as i64,
            _ => self.below(LEN as usize + 1) as i64,
        }
    }

    fn descriptor(&mut self) -> Option<ParcelFileDescriptor> {
        let which = self.below(self.descriptors.len());
        Some(pfd(self.descriptors[which].try_clone().expect("dup")))
    }

    /// One that makes sense, most of the time.
    fn descriptor_for(&mut self, which: usize) -> Option<ParcelFileDescriptor> {
        match self.below(16) {
            0 => None,
            1 => self.descriptor(),
            _ => Some(pfd(self.descriptors[which].try_clone().expect("dup"))),
        }
    }

    fn extents(&mut self) -> Vec<Extent> {
        let count = if self.one_in(8) { self.below(40) } else { 1 + self.below(2) };
        let extents: Vec<_> =
            (0..count).map(|_| (self.number(), self.number(), self.number())).collect();
        if self.one_in(2) {
            return list(&[(0, 0, LEN)]);
        }
        list(&extents)
    }

    fn direction(&mut self) -> Direction {
        [Direction::LOAD, Direction::SAVE][self.below(2)]
    }

    fn mode(&mut self) -> Mode {
        [Mode::AUTO, Mode::AUTO, Mode::DIRECT, Mode::BUFFERED, Mode(self.word())][self.below(5)]
    }

    fn priority(&mut self) -> Priority {
        Priority(self.below(4) as i32)
    }

    pub fn transfer(&mut self) -> TransferRequest {
        let direction = self.direction();
        let file = if direction == Direction::SAVE { 2 } else { 1 };
        TransferRequest {
            buffer: self.descriptor_for(0),
            file: self.descriptor_for(file),
            extents: self.extents(),
            direction,
            mode: self.mode(),
            priority: self.priority(),
            durability: Durability(self.below(3) as i32),
            tag: self.text(),
        }
    }

    fn load(&mut self) -> LoadRequest {
        let items = self.below(4);
        let items = (0..items)
            .map(|_| LoadItem { size: self.number().min(1 << 20), extents: self.extents() })
            .collect();
        LoadRequest {
            file: self.descriptor_for(1),
            items,
            mode: self.mode(),
            priority: self.priority(),
            tag: self.text(),
        }
    }

    pub fn stream(&mut self) -> StreamRequest {
        StreamRequest {
            file: self.descriptor_for(1),
            direction: if self.one_in(4) { Direction::SAVE } else { Direction::LOAD },
            mode: self.mode(),
            priority: self.priority(),
            durability: Durability::NONE,
            offset: self.number(),
            frameBytes: 1 + self.below(1 << 16) as i64,
            bufferCount: self.below(4) as i32,
            tag: self.text(),
        }
    }

    fn text(&mut self) -> String {
        ["", "fuzz", "not\nprintable", "\u{1f4a9}"][self.below(4)].to_owned()
    }

    /// The arguments of a method of the service.
    pub fn valid(&mut self, code: TransactionCode, parcel: &mut Parcel) -> Result<(), StatusCode> {
        match code - FIRST_CALL_TRANSACTION {
            0 => Ok(()),
            1 => parcel.write(&BufferDesc { size: self.number().min(1 << 20), tag: self.text() }),
            2 => {
                parcel.write(&self.descriptor_for(1))?;
                parcel.write(&self.extents()[..])
            }
            3 => parcel.write(&self.transfer()),
            4 => parcel.write(&self.load()),
            5 => {
                let (loads, transfers) = (self.below(3), self.below(3));
                parcel.write(&SubmitRequest {
                    loads: (0..loads).map(|_| self.load()).collect(),
                    transfers: (0..transfers).map(|_| self.transfer()).collect(),
                })
            }
            _ => {
                parcel.write(&self.stream())?;
                let count = self.below(3);
                let buffers: Vec<_> = (0..count).flat_map(|_| self.descriptor_for(0)).collect();
                parcel.write(&buffers[..])
            }
        }
    }

    /// Arguments of no method, or of one with numbers only.
    pub fn any(&mut self, parcel: &mut Parcel) -> Result<(), StatusCode> {
        for _ in 0..self.below(12) {
            match self.below(6) {
                0 => parcel.write(&self.number())?,
                1 => parcel.write(&self.text())?,
                2 => parcel.write(&self.descriptor())?,
                3 => parcel.write(&self.binder)?,
                _ => parcel.write(&self.word())?,
            }
        }
        Ok(())
    }

    /// Changes words of a parcel, behind `from`.
    pub fn change(&mut self, parcel: &mut Parcel, from: usize, count: usize) {
        let size = parcel.data_size();
        for _ in 0..count {
            parcel.set_data_position(from + self.below((size - from) / 4 + 1) * 4);
            // The library lets nobody change its descriptors and binders, which it has to close.
            match parcel.write(&self.word()) {
                Ok(()) | Err(StatusCode::PermissionDenied) => {}
                Err(status) => panic!("a word of a parcel: {status:?}"),
            }
        }
        parcel.set_data_position(size);
    }
}
