//! What the markers of a JPEG file say, by ITU-T T.81, and as libjpeg understands what T.81 leaves open.

use crate::photo::decoded::{MAX_BYTES, check_size};

/// A JPEG file up to its end marker.
pub(super) struct File<'a> {
    pub(super) frame: Frame,
    pub(super) scans: Vec<Scan>,
    pub(super) colours: Colours,
    pub(super) exif: Option<&'a [u8]>,
    pub(super) xmp: Option<&'a [u8]>,
    /// Whether there are Huffman tables. Frames of a film come without; theirs are the ones that T.81 gives as examples.
    pub(super) has_tables: bool,
    /// The segments that make the picture, each from its marker on, the compressed data with its scan's; and whether it
    /// is a scan's.
    segments: Vec<(&'a [u8], bool)>,
}

/// Ones, which are no code of any Huffman table: a decoder that comes so far has not found all of its data. They are more
/// than any decoder reads ahead.
const NO_CODE: &[u8] = &[0xff, 0, 0xff, 0, 0xff, 0, 0xff, 0, 0xff, 0, 0xff, 0, 0xff, 0, 0xff, 0];

/// A segment by which `jpeg-decoder` knows a frame of a film.
const FILM: &[u8] = b"\xff\xe0\0\x07AVI1\0";

/// The picture's size, and what it is made of.
pub(super) struct Frame {
    pub(super) width: usize,
    pub(super) height: usize,
    pub(super) progressive: bool,
    pub(super) components: Vec<Component>,
}

/// A plane of samples.
pub(super) struct Component {
    id: u8,
    /// Samples in a row, for each `h_max` pixels.
    pub(super) h: usize,
    /// Samples in a column, for each `v_max` pixels.
    pub(super) v: usize,
}

/// The components of a scan, by their places in the frame.
pub(super) type Scan = Vec<usize>;

/// What the components mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Colours {
    Grey,
    Rgb,
    YCbCr,
    Cmyk,
    Ycck,
}

/// Pillow reads no longer sides, and the arithmetic of decoders in 16 bits needs some room.
const MAX_SIDE: usize = 65_500;

/// A decoder walks through the whole picture for each scan, however short: so many samples are enough for 32 scans of the
/// largest picture, and for any number of a small one's.
const MAX_WORK: u64 = 32 * MAX_BYTES as u64;

const CUT_OFF: &str = "a JPEG file that is cut off";

fn damaged(why: impl std::fmt::Display) -> String {
    format!("a JPEG file that is damaged: {why}")
}

impl<'a> File<'a> {
    pub(super) fn read(bytes: &'a [u8]) -> Result<Self, String> {
        let mut frame = None;
        let (mut scans, mut segments) = (Vec::new(), Vec::new());
        let (mut jfif, mut adobe, mut exif, mut xmp) = (false, None, None, None);
        let (mut has_tables, mut restart_interval) = (false, 0);
        let mut at = 2;
        loop {
            let segment = Segment::next(bytes, at)?;
            at = segment.end;
            match segment.marker {
                // The first picture's end. Phones put another behind it, or a film.
                0xd9 => break,
                0xc0..=0xc2 if frame.is_none() => frame = Some(Frame::read(&segment)?),
                0xc3 | 0xc5..=0xc7 | 0xc9..=0xcb | 0xcd..=0xcf | 0xf7 => return Err(unusual(segment.marker)),
                0xc0..=0xc2 => return Err(damaged("two frames")),
                0xc4 => has_tables = true,
                0xdd => {
                    let interval =
                        segment.content.first_chunk().map(|&interval| u16::from_be_bytes(interval));
                    restart_interval = interval.unwrap_or_default().into();
                }
                0xda => {
                    let frame = frame.as_ref().ok_or_else(|| damaged("a scan before its frame"))?;
                    let scan = frame.scan(&segment)?;
                    frame.check_restarts(&scan, restart_interval, segment.data)?;
                    scans.push(scan);
                }
                0xe0 if segment.content.starts_with(b"JFIF\0") => jfif = true,
                0xe1 => {
                    if let Some(content) = segment.content.strip_prefix(b"Exif\0\0") {
                        exif = exif.or(Some(content));
                    } else if let Some(content) =
                        segment.content.strip_prefix(b"http://ns.adobe.com/xap/1.0/\0")
                    {
                        xmp = xmp.or(Some(content));
                    }
                }
                0xee if segment.content.starts_with(b"Adobe") => {
                    adobe = segment.content.get(11).copied().or(adobe)
                }
                _ => {}
            }
            if matches!(segment.marker, 0xc0..=0xc4 | 0xda..=0xdb | 0xdd) {
                segments.push((&bytes[segment.start..segment.end], segment.marker == 0xda));
            }
        }
        let frame: Frame = frame.ok_or_else(|| damaged("no frame"))?;
        let seen = |component| scans.iter().any(|scan: &Scan| scan.contains(&component));
        if !(0..frame.components.len()).all(seen) {
            return Err(damaged("a component without a scan"));
        }
        let walks: u64 = scans.iter().map(|scan| scan.len() as u64).sum();
        if walks.saturating_mul((frame.width * frame.height) as u64) > MAX_WORK {
            return Err(format!("a JPEG file of {} scans: too many for its size", scans.len()));
        }
        let colours = frame.colours(jfif, adobe);
        if !has_tables {
            segments.insert(0, (FILM, false));
        }
        Ok(Self { frame, scans, colours, exif, xmp, has_tables, segments })
    }

    /// The file without what is not needed for its picture. Behind the data of each scan but the first `unmarked` is what
    /// decoders take for an error.
    pub(super) fn without_the_rest(&self, unmarked: usize) -> Vec<u8> {
        let mut file = b"\xff\xd8".to_vec();
        let mut scans = 0;
        for &(segment, is_scan) in &self.segments {
            file.extend(segment);
            scans += usize::from(is_scan);
            if is_scan && scans > unmarked {
                file.extend(NO_CODE);
            }
        }
        file.extend(b"\xff\xd9");
        file
    }
}

/// The name of a kind of JPEG that is not decoded.
fn unusual(marker: u8) -> String {
    let kind = match marker {
        0xc9 | 0xca => {
            return String::from(
                "a JPEG file with arithmetic coding, which is not read: `jpegtran IN > OUT` makes an ordinary one",
            );
        }
        0xc3 | 0xcb => "a lossless JPEG file",
        0xf7 => "a JPEG-LS file",
        _ => "a hierarchical JPEG file",
    };
    format!("{kind}, which is not read: convert it first, for example with `magick IN OUT.png`")
}

/// A marker and what belongs to it.
struct Segment<'a> {
    marker: u8,
    content: &'a [u8],
    /// The compressed data behind the header of a scan.
    data: &'a [u8],
    start: usize,
    end: usize,
}

impl<'a> Segment<'a> {
    /// The first segment at or behind `at`. Bytes between segments are passed over, as libjpeg does.
    fn next(bytes: &'a [u8], at: usize) -> Result<Self, String> {
        let mut start = at;
        loop {
            start += find_ff(bytes.get(start..).unwrap_or_default()).ok_or(CUT_OFF)?;
            match bytes.get(start + 1) {
                None => return Err(CUT_OFF.into()),
                // Filling; zero, restart and the marker without a meaning stand alone.
                Some(0xff) => start += 1,
                Some(0 | 1 | 0xd0..=0xd7) => start += 2,
                Some(&marker @ 0xd9) => {
                    return Ok(Self { marker, content: &[], data: &[], start, end: start + 2 });
                }
                Some(0xd8) => return Err(damaged("it begins twice")),
                Some(&marker) => {
                    let behind = bytes.get(start + 2..).unwrap_or_default();
                    let length: [u8; 2] = *behind.first_chunk().ok_or(CUT_OFF)?;
                    let length = usize::from(u16::from_be_bytes(length));
                    let content = behind.get(..length).ok_or(CUT_OFF)?.get(2..);
                    let content = content.ok_or_else(|| damaged("a segment without a length"))?;
                    let behind = &behind[length..];
                    let data = if marker == 0xda { compressed(behind).ok_or(CUT_OFF)? } else { &[] };
                    let end = start + 2 + length + data.len();
                    return Ok(Self { marker, content, data, start, end });
                }
            }
        }
    }
}

fn find_ff(bytes: &[u8]) -> Option<usize> {
    bytes.iter().position(|&byte| byte == 0xff)
}

/// The compressed data that `bytes` begin with: up to a marker that is no restart.
fn compressed(bytes: &[u8]) -> Option<&[u8]> {
    let mut at = 0;
    loop {
        at += find_ff(&bytes[at..])?;
        match bytes.get(at + 1)? {
            0 | 0xd0..=0xd7 => at += 2,
            0xff => at += 1,
            _ => return Some(&bytes[..at]),
        }
    }
}

impl Frame {
    fn read(segment: &Segment<'_>) -> Result<Self, String> {
        let [bits, h1, h0, w1, w0, count, components @ ..] = segment.content else {
            return Err(damaged("a frame without a size"));
        };
        if *bits != 8 {
            return Err(format!(
                "a JPEG file of {bits} bits per sample, which is not read: convert it first"
            ));
        }
        let height = usize::from(u16::from_be_bytes([*h1, *h0]));
        let width = usize::from(u16::from_be_bytes([*w1, *w0]));
        if width == 0 || height == 0 {
            return Err(damaged(format!("{width} x {height} pixels")));
        }
        if width.max(height) > MAX_SIDE {
            return Err(format!("{width} x {height} pixels: the limit for JPEG is {MAX_SIDE} on a side"));
        }
        let components: Vec<Component> = components
            .as_chunks::<3>()
            .0
            .iter()
            .map(|&[id, sampling, _]| Component { id, h: (sampling >> 4).into(), v: (sampling & 15).into() })
            .collect();
        if components.len() != usize::from(*count) || !matches!(count, 1 | 3 | 4) {
            return Err(format!("a JPEG file of {count} components, which is neither grey nor RGB nor CMYK"));
        }
        if components.iter().any(|c| !(1..=4).contains(&c.h) || !(1..=4).contains(&c.v)) {
            return Err(damaged("sampling factors that cannot be"));
        }
        let frame = Self { width, height, progressive: segment.marker == 0xc2, components };
        check_size(width, height, 3.max(frame.coefficient_bytes()))?;
        Ok(frame)
    }

    /// The greatest sampling factors.
    pub(super) fn max_sampling(&self) -> (usize, usize) {
        let h = self.components.iter().map(|c| c.h).max().unwrap_or(1);
        let v = self.components.iter().map(|c| c.v).max().unwrap_or(1);
        (h, v)
    }

    /// Bytes of all coefficients per pixel, rounded up, where they are all kept: two for each sample.
    fn coefficient_bytes(&self) -> usize {
        let (h_max, v_max) = self.max_sampling();
        let samples: usize = self.components.iter().map(|c| c.h * c.v).sum();
        if self.progressive { (2 * samples).div_ceil(h_max * v_max) } else { 0 }
    }

    /// The components of a scan.
    fn scan(&self, segment: &Segment<'_>) -> Result<Scan, String> {
        let count =
            usize::from(*segment.content.first().ok_or_else(|| damaged("a scan without components"))?);
        let list = segment.content[1..].as_chunks::<2>().0.get(..count);
        let list =
            list.filter(|list| !list.is_empty()).ok_or_else(|| damaged("a scan without components"))?;
        let place = |&[id, _]: &[u8; 2]| self.components.iter().position(|component| component.id == id);
        list.iter()
            .map(place)
            .collect::<Option<Scan>>()
            .ok_or_else(|| damaged("a scan of an unknown component"))
    }

    /// An error where the restart markers in a scan's data, which must be one for each `interval` blocks or groups of
    /// blocks but the last, are not all there: decoders take what follows for what is missing. One at the end is harmless.
    fn check_restarts(&self, scan: &Scan, interval: usize, data: &[u8]) -> Result<(), String> {
        let is_restart = |pair: &[u8]| pair[0] == 0xff && matches!(pair[1], 0xd0..=0xd7);
        if interval == 0 {
            let within = data.len().saturating_sub(2);
            return match data[..within].windows(2).any(is_restart) {
                true => Err(damaged("a restart marker where there should be none")),
                false => Ok(()),
            };
        }
        let (h_max, v_max) = self.max_sampling();
        let groups = match scan[..] {
            [alone] => {
                let Component { h, v, .. } = self.components[alone];
                (self.width * h).div_ceil(8 * h_max) * (self.height * v).div_ceil(8 * v_max)
            }
            _ => self.width.div_ceil(8 * h_max) * self.height.div_ceil(8 * v_max),
        };
        let expected = (groups - 1) / interval;
        let pairs = data.windows(2).filter(|pair| is_restart(pair));
        let numbers = pairs.map(|pair| usize::from(pair[1] & 7));
        let mut count = 0;
        for number in numbers {
            if count < expected && number != count % 8 {
                return Err(damaged(format!("restart marker {number} in place of {}", count % 8)));
            }
            count += 1;
        }
        if count != expected && count != expected + 1 {
            return Err(damaged(format!("{count} restart markers, expected {expected}")));
        }
        Ok(())
    }

    /// What libjpeg would take the components for.
    fn colours(&self, jfif: bool, adobe: Option<u8>) -> Colours {
        let ids: Vec<u8> = self.components.iter().map(|component| component.id).collect();
        match (&ids[..], adobe) {
            ([_], _) => Colours::Grey,
            ([_, _, _], _) if jfif => Colours::YCbCr,
            ([_, _, _], Some(0)) | (b"RGB", None) => Colours::Rgb,
            ([_, _, _], _) => Colours::YCbCr,
            (_, None | Some(0)) => Colours::Cmyk,
            _ => Colours::Ycck,
        }
    }
}
