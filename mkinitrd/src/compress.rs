//! Compression: of the archive, and of the modules and firmware that go into it.

use std::{
    fmt,
    io::{self, Write},
    str::FromStr,
};

use nextroot::{sys::file::until_end, units::Bytes};
use zstd::zstd_safe::CParameter;

/// How an archive is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Compression {
    /// zstd
    Zstd,
    /// lz4, in the legacy frame that the kernel reads
    Lz4,
    /// xz, with the checksum that the kernel reads
    Xz,
    /// gzip
    Gzip,
    /// not at all
    None,
}

/// The level for zstd: docs/decisions/0007 has the figures.
const ZSTD_LEVEL: i32 = 6;
/// Threads, and bytes for each to compress at a time: fixed, so that the result does not depend on the
/// machine.
const ZSTD_WORKERS: u32 = 4;
const ZSTD_JOB: u32 = 4 << 20;

impl Compression {
    /// All of them.
    pub(crate) const ALL: [Self; 5] = [Self::Zstd, Self::Lz4, Self::Xz, Self::Gzip, Self::None];

    /// The kernel's configuration option for unpacking it.
    pub(crate) fn kernel_option(self) -> Option<&'static str> {
        match self {
            Self::Zstd => Some("CONFIG_RD_ZSTD"),
            Self::Lz4 => Some("CONFIG_RD_LZ4"),
            Self::Xz => Some("CONFIG_RD_XZ"),
            Self::Gzip => Some("CONFIG_RD_GZIP"),
            Self::None => None,
        }
    }

    /// Compresses an archive; the same bytes for the same input.
    pub(crate) fn compress(self, archive: &[u8]) -> io::Result<Vec<u8>> {
        match self {
            Self::Zstd => zstd(archive),
            Self::Lz4 => Ok(lz4_legacy(archive)),
            Self::Xz => {
                let options = liblzma::stream::LzmaOptions::new_preset(6)?;
                let mut filters = liblzma::stream::Filters::new();
                filters.lzma2(&options);
                let stream =
                    liblzma::stream::Stream::new_stream_encoder(&filters, liblzma::stream::Check::Crc32)?;
                let mut writer = liblzma::write::XzEncoder::new_stream(Vec::new(), stream);
                writer.write_all(archive)?;
                writer.finish()
            }
            Self::Gzip => {
                let mut writer =
                    flate2::GzBuilder::new().mtime(0).write(Vec::new(), flate2::Compression::default());
                writer.write_all(archive)?;
                writer.finish()
            }
            Self::None => Ok(archive.to_vec()),
        }
    }
}

fn zstd(archive: &[u8]) -> io::Result<Vec<u8>> {
    let mut compressor = zstd::bulk::Compressor::new(ZSTD_LEVEL)?;
    compressor.set_parameter(CParameter::NbWorkers(ZSTD_WORKERS))?;
    compressor.set_parameter(CParameter::JobSize(ZSTD_JOB))?;
    compressor.compress(archive)
}

/// lib/decompress_unlz4.c: a magic number, then blocks of up to 8 MiB, each after its compressed length.
fn lz4_legacy(archive: &[u8]) -> Vec<u8> {
    let mut out = 0x184c_2102_u32.to_le_bytes().to_vec();
    for block in archive.chunks(8 << 20) {
        let packed = lz4_flex::block::compress(block);
        out.extend_from_slice(&(packed.len() as u32).to_le_bytes());
        out.extend_from_slice(&packed);
    }
    out
}

/// The largest module or firmware, before and after its compression is undone: some KiB can claim to be far more.
pub(crate) const LARGEST: Bytes = Bytes(1 << 30);

/// Undoes the compression that a file's name tells, up to `most` bytes.
pub(crate) fn decompress(name: &str, bytes: Vec<u8>, most: Bytes) -> io::Result<Vec<u8>> {
    match name.rsplit('.').next() {
        Some("xz") => until_end(liblzma::read::XzDecoder::new(bytes.as_slice()), most),
        Some("zst") => until_end(zstd::stream::read::Decoder::new(bytes.as_slice())?, most),
        Some("gz") => until_end(flate2::read::GzDecoder::new(bytes.as_slice()), most),
        _ => Ok(bytes),
    }
}

impl FromStr for Compression {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|compression| compression.to_string() == text);
        found.ok_or_else(|| format!("\"{text}\" is no compression: write zstd, lz4, xz, gzip or none"))
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Zstd => "zstd",
            Self::Lz4 => "lz4",
            Self::Xz => "xz",
            Self::Gzip => "gzip",
            Self::None => "none",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trips() {
        let text: Vec<u8> = (0..100_000_u32).flat_map(|i| (i / 7).to_le_bytes()).collect();
        for (compression, suffix) in [
            (Compression::Zstd, "a.ko.zst"),
            (Compression::Xz, "a.ko.xz"),
            (Compression::Gzip, "a.ko.gz"),
            (Compression::None, "a.ko"),
        ] {
            let packed = compression.compress(&text).unwrap();
            assert_eq!(packed, compression.compress(&text).unwrap(), "{compression}");
            assert!(compression == Compression::None || packed.len() < text.len());
            let exact = Bytes(text.len() as u64);
            assert_eq!(decompress(suffix, packed.clone(), exact).unwrap(), text, "{compression}");
            let less = decompress(suffix, packed, Bytes(exact.0 - 1));
            assert_eq!(less.is_err(), compression != Compression::None, "{compression}");
            assert_eq!(compression.to_string().parse(), Ok(compression));
        }
        assert!(decompress("a.ko.xz", b"nonsense".to_vec(), LARGEST).is_err());
        assert!("bzip2".parse::<Compression>().is_err());
    }

    #[test]
    fn lz4_as_the_kernel_reads_it() {
        let text: Vec<u8> = (0..3_000_000_u32).flat_map(|i| (i / 7).to_le_bytes()).collect();
        let packed = lz4_legacy(&text);
        let (magic, mut rest) = packed.split_at(4);
        assert_eq!(magic, [0x02, 0x21, 0x4c, 0x18]);
        for block in text.chunks(8 << 20) {
            let (length, after) = rest.split_first_chunk().unwrap();
            let (packed, after) = after.split_at(u32::from_le_bytes(*length) as usize);
            assert_eq!(lz4_flex::block::decompress(packed, block.len()).unwrap(), block);
            rest = after;
        }
        assert!(rest.is_empty());
    }
}
