//! Maps whose types are not known before they are opened: what the kernel says about them, and their bytes.

use std::{
    ffi::CString,
    fs, io,
    os::{
        fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
        unix::ffi::OsStrExt as _,
    },
    path::{Path, PathBuf},
};

use aya_obj::generated::bpf_map_type;

use crate::{
    btf::{Btf, Shape},
    datapath::DataPathError,
};

/// Commands of bpf(2) (`linux/bpf.h`).
mod commands {
    pub(super) const MAP_LOOKUP_ELEM: libc::c_int = 1;
    pub(super) const MAP_UPDATE_ELEM: libc::c_int = 2;
    pub(super) const MAP_GET_NEXT_KEY: libc::c_int = 4;
    pub(super) const OBJ_GET: libc::c_int = 7;
    pub(super) const OBJ_GET_INFO_BY_FD: libc::c_int = 15;
    pub(super) const BTF_GET_FD_BY_ID: libc::c_int = 19;
    pub(super) const MAP_LOOKUP_BATCH: libc::c_int = 24;
}

// What the maps are that this is for.
const ARRAY: u32 = bpf_map_type::BPF_MAP_TYPE_ARRAY as u32;
const HASH: u32 = bpf_map_type::BPF_MAP_TYPE_HASH as u32;
const PER_CPU_ARRAY: u32 = bpf_map_type::BPF_MAP_TYPE_PERCPU_ARRAY as u32;

/// Largest type information of a map that is read, in bytes; the kernel takes no larger one.
const MAX_BTF: u32 = 16 << 20;

/// A pinned map.
pub(super) struct RawMap {
    fd: OwnedFd,
    path: PathBuf,
    /// Most entries.
    pub(super) entries: u32,
    /// Of a key.
    pub(super) key: Shape,
    /// Of a value, or of one CPU's.
    pub(super) value: Shape,
    key_size: usize,
    /// What the kernel copies: for a map per CPU one value after the other, each at a multiple of eight bytes.
    value_size: usize,
    cpus: usize,
    /// `BPF_MAP_TYPE_`: an array, a hash map or an array per CPU.
    pub(super) kind: u32,
}

impl RawMap {
    /// Opens a pinned map; `None` when there is no such file.
    pub(super) fn open(path: &Path) -> Result<Option<Self>, DataPathError> {
        let failed = |reason: String| DataPathError::TakeOver { path: path.to_owned(), reason };
        let name = CString::new(path.as_os_str().as_bytes()).map_err(|error| failed(error.to_string()))?;
        let mut get = ObjectGet { path: name.as_ptr() as u64, fd: 0, flags: 0 };
        let fd = match owned(bpf(commands::OBJ_GET, &mut get)) {
            Ok(fd) => fd,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed(error.to_string())),
        };
        // Asked about something else, the kernel would answer all the same.
        let what = fs::read_link(format!("/proc/self/fd/{}", fd.as_raw_fd()));
        if !what.is_ok_and(|what| what.as_os_str().as_bytes().ends_with(b"bpf-map")) {
            return Err(failed("it is no map".to_owned()));
        }
        let mut info = MapInfo::default();
        read_info(&fd, &mut info).map_err(|error| failed(error.to_string()))?;
        let cpus = match info.kind {
            ARRAY | HASH => 1,
            PER_CPU_ARRAY => nr_cpus()?,
            kind => return Err(failed(format!("its type, {kind}, is none that dmvpn has under this name"))),
        };
        if info.btf_id == 0 {
            return Err(failed("it has no type information, so dmvpn did not make it".to_owned()));
        }
        let btf = read_btf(info.btf_id).map_err(|error| match error.raw_os_error() {
            Some(libc::EPERM) => failed(
                "the kernel tells what is in it to a process with CAP_SYS_ADMIN only: run dmvpn as root for this start"
                    .to_owned(),
            ),
            _ => failed(error.to_string()),
        })?;
        let btf = Btf::parse(&btf).map_err(|error| failed(error.to_string()))?;
        let shape = |id: u32, size: u32| {
            let shape = Shape::of(&btf, id).map_err(|error| failed(error.to_string()))?;
            if shape.size() == size as usize {
                Ok(shape)
            } else {
                Err(failed("its type information is of another size than what is in it".to_owned()))
            }
        };
        let value_size = info.value_size as usize;
        Ok(Some(Self {
            fd,
            path: path.to_owned(),
            entries: info.max_entries,
            key: shape(info.btf_key_type_id, info.key_size)?,
            value: shape(info.btf_value_type_id, info.value_size)?,
            key_size: info.key_size as usize,
            value_size: if cpus == 1 { value_size } else { value_size.next_multiple_of(8) * cpus },
            cpus,
            kind: info.kind,
        }))
    }

    /// Whether keys are the numbers from 0 to [`entries`](Self::entries), all of them there.
    pub(super) fn is_array(&self) -> bool {
        self.kind != HASH
    }

    /// Calls `each` with every key and its value; in a map per CPU the value is that of all CPUs, see
    /// [`of_each_cpu`](Self::of_each_cpu). Entries of a hash map that come or go meanwhile may be missed.
    pub(super) fn for_each(
        &self,
        each: impl FnMut(&[u8], &[u8]) -> Result<(), DataPathError>,
    ) -> Result<(), DataPathError> {
        if self.is_array() { self.for_each_index(each) } else { self.for_each_key(each) }
    }

    fn for_each_key(
        &self,
        mut each: impl FnMut(&[u8], &[u8]) -> Result<(), DataPathError>,
    ) -> Result<(), DataPathError> {
        let (mut key, mut next, mut value) = (None, vec![0_u8; self.key_size], vec![0_u8; self.value_size]);
        for _ in 0..self.entries {
            let last = key.as_ref().map_or(0, |key: &Vec<u8>| key.as_ptr() as u64);
            match self.element(commands::MAP_GET_NEXT_KEY, last, next.as_mut_ptr() as u64) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => break,
                Err(error) => return Err(self.failed(&error)),
            }
            match self.element(commands::MAP_LOOKUP_ELEM, next.as_ptr() as u64, value.as_mut_ptr() as u64) {
                Ok(()) => each(&next, &value)?,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(self.failed(&error)),
            }
            key = Some(next.clone());
        }
        Ok(())
    }

    /// Arrays may have millions of entries: many at once.
    fn for_each_index(
        &self,
        mut each: impl FnMut(&[u8], &[u8]) -> Result<(), DataPathError>,
    ) -> Result<(), DataPathError> {
        const AT_ONCE: u32 = 4096;
        let mut keys = vec![0_u8; AT_ONCE as usize * self.key_size];
        let mut values = vec![0_u8; AT_ONCE as usize * self.value_size];
        let (mut last, mut next) = (0_u32, 0_u32);
        let mut is_first = true;
        loop {
            let mut batch = Batch {
                last: if is_first { 0 } else { &raw const last as u64 },
                next: &raw mut next as u64,
                keys: keys.as_mut_ptr() as u64,
                values: values.as_mut_ptr() as u64,
                count: AT_ONCE,
                map: number(&self.fd),
                element_flags: 0,
                flags: 0,
            };
            let is_end = match bpf(commands::MAP_LOOKUP_BATCH, &mut batch) {
                Ok(_) => false,
                Err(error) if error.kind() == io::ErrorKind::NotFound => true,
                Err(error) => return Err(self.failed(&error)),
            };
            let found = batch.count.min(AT_ONCE) as usize;
            let entries = keys.chunks(self.key_size).zip(values.chunks(self.value_size)).take(found);
            entries.into_iter().try_for_each(|(key, value)| each(key, value))?;
            if is_end {
                return Ok(());
            }
            (last, is_first) = (next, false);
        }
    }

    /// The value of each CPU in a map per CPU, the only one in another map.
    pub(super) fn of_each_cpu<'a>(&self, value: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
        let size = self.value.size();
        value.chunks(self.value_size / self.cpus).map(move |value| &value[..size])
    }

    /// Writes the value of a key, one for each CPU in a map per CPU.
    pub(super) fn write(&self, key: &[u8], values: &[Vec<u8>]) -> Result<(), DataPathError> {
        let mut bytes = Vec::with_capacity(self.value_size);
        for value in values {
            bytes.extend_from_slice(value);
            bytes.resize(bytes.len().next_multiple_of(if self.cpus == 1 { 1 } else { 8 }), 0);
        }
        if key.len() != self.key_size || bytes.len() != self.value_size {
            return Err(self.failed(&io::ErrorKind::InvalidInput.into()));
        }
        let written = self.element(commands::MAP_UPDATE_ELEM, key.as_ptr() as u64, bytes.as_mut_ptr() as u64);
        written.map_err(|error| self.failed(&error))
    }

    /// One of the commands for an element. `key` and `value` point to as many bytes as the map has.
    fn element(&self, command: libc::c_int, key: u64, value: u64) -> io::Result<()> {
        let mut attributes = Element { map: number(&self.fd), padding: 0, key, value, flags: 0 };
        bpf(command, &mut attributes).map(drop)
    }

    fn failed(&self, error: &io::Error) -> DataPathError {
        DataPathError::TakeOver { path: self.path.clone(), reason: error.to_string() }
    }
}

/// CPUs that a map per CPU has a value for.
fn nr_cpus() -> Result<usize, DataPathError> {
    aya::util::nr_cpus().map_err(|(path, source)| DataPathError::File {
        operation: "read the number of CPUs from",
        path: path.into(),
        source,
    })
}

/// Type information by its number.
fn read_btf(mut id: u32) -> io::Result<Vec<u8>> {
    let fd = owned(bpf(commands::BTF_GET_FD_BY_ID, &mut id))?;
    let mut info = BtfInfo::default();
    read_info(&fd, &mut info)?;
    if info.size > MAX_BTF {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    let mut bytes = vec![0_u8; info.size as usize];
    let mut info = BtfInfo { bytes: bytes.as_mut_ptr() as u64, ..info };
    read_info(&fd, &mut info)?;
    Ok(bytes)
}

/// `struct bpf_map_info`, as far as it is of use here.
#[repr(C)]
#[derive(Default)]
struct MapInfo {
    kind: u32,
    id: u32,
    key_size: u32,
    value_size: u32,
    max_entries: u32,
    flags: u32,
    name: [u8; 16],
    interface: u32,
    kernel_value_type: u32,
    namespace: [u64; 2],
    btf_id: u32,
    btf_key_type_id: u32,
    btf_value_type_id: u32,
    padding: u32,
}

/// `struct bpf_btf_info`, likewise. The kernel fills `bytes`, up to `size` of them.
#[repr(C)]
#[derive(Default)]
struct BtfInfo {
    bytes: u64,
    size: u32,
    id: u32,
}

/// `union bpf_attr` for `BPF_OBJ_GET`: its first fields. The kernel takes the rest as zero, here and below.
#[repr(C)]
struct ObjectGet {
    path: u64,
    fd: u32,
    flags: u32,
}

/// The same for the commands for elements.
#[repr(C)]
struct Element {
    map: u32,
    padding: u32,
    key: u64,
    value: u64,
    flags: u64,
}

/// The same for `BPF_MAP_LOOKUP_BATCH`.
#[repr(C)]
struct Batch {
    last: u64,
    next: u64,
    keys: u64,
    values: u64,
    /// Room, and then how many there are.
    count: u32,
    map: u32,
    element_flags: u64,
    flags: u64,
}

/// The same for `BPF_OBJ_GET_INFO_BY_FD`.
#[repr(C)]
struct GetInfo {
    fd: u32,
    length: u32,
    info: u64,
}

fn read_info<T>(fd: &OwnedFd, info: &mut T) -> io::Result<()> {
    let length = u32::try_from(size_of::<T>()).map_err(io::Error::other)?;
    let mut get = GetInfo { fd: number(fd), length, info: std::ptr::from_mut(info) as u64 };
    bpf(commands::OBJ_GET_INFO_BY_FD, &mut get).map(drop)
}

/// A file descriptor is never negative.
fn number(fd: &OwnedFd) -> u32 {
    fd.as_raw_fd().unsigned_abs()
}

fn owned(result: io::Result<libc::c_int>) -> io::Result<OwnedFd> {
    // SAFETY: the kernel has just returned this descriptor, nobody else has it.
    #[expect(unsafe_code, reason = "the kernel gives numbers")]
    result.map(|fd| unsafe { OwnedFd::from_raw_fd(fd) })
}

/// The system call.
fn bpf<T>(command: libc::c_int, attributes: &mut T) -> io::Result<libc::c_int> {
    // SAFETY: the attributes are the caller's own. They point to what it keeps alive and, where the kernel writes, to a
    // buffer of its own that has the size the kernel knows: that of the map's keys and values, or the one that stands
    // beside the pointer.
    #[expect(unsafe_code, reason = "bpf(2) has no wrapper in libc")]
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, &raw mut *attributes, size_of::<T>()) };
    match libc::c_int::try_from(result) {
        Ok(value) if value >= 0 => Ok(value),
        _ => Err(io::Error::last_os_error()),
    }
}
