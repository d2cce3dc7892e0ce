//! The QR code of an address.
//!
//! `qrcode` was chosen over `fast_qr`: it has no dependency, it mixes modes, so that an address with a long number needs
//! fewer modules, and its output has been stable for years. `fast_qr` had encoding faults until 0.9 and chose wrong
//! masks until 0.14.

use qrcode::types::Color;
use qrcode::{EcLevel, QrCode};

use super::PosterError;

/// Width of the white border that a reader needs, in modules (ISO/IEC 18004).
pub(super) const QUIET_MODULES: f32 = 4.0;

/// The modules of a QR code.
#[derive(Clone, Debug)]
pub(super) struct Code {
    modules: Vec<Color>,
    side: usize,
}

/// Dark modules side by side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Run {
    /// Column of the first module.
    pub(super) x: usize,
    /// Row.
    pub(super) y: usize,
    /// Number of modules.
    pub(super) length: usize,
}

impl Code {
    /// The code of `address` at level Q: it is still read when a quarter of it is dirty or torn.
    pub(super) fn new(address: &str) -> Result<Code, PosterError> {
        // Only ASCII: the encoder takes some pairs of other bytes for Kanji, and readers then show other characters.
        if address.is_empty() || !address.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(PosterError::Address);
        }
        let code =
            QrCode::with_error_correction_level(address, EcLevel::Q).map_err(|source| PosterError::Code { source })?;
        Ok(Code { side: code.width(), modules: code.into_colors() })
    }

    /// Modules on one side, without the quiet zone.
    pub(super) fn side(&self) -> usize {
        self.side
    }

    /// The code as an SVG path in units of one module, quiet zone included, and the length of its side.
    pub(super) fn path(&self) -> (String, usize) {
        let quiet = QUIET_MODULES as usize;
        let run = |run: Run| format!("M{} {}h{}v1h-{}z", run.x + quiet, run.y + quiet, run.length, run.length);
        (self.runs().into_iter().map(run).collect(), self.side + 2 * quiet)
    }

    /// The dark modules, row by row.
    pub(super) fn runs(&self) -> Vec<Run> {
        let mut runs = Vec::new();
        for (y, row) in self.modules.chunks(self.side).enumerate() {
            let mut x = 0;
            for same in row.chunk_by(|left, right| left == right) {
                if same.first() == Some(&Color::Dark) {
                    runs.push(Run { x, y, length: same.len() });
                }
                x += same.len();
            }
        }
        runs
    }
}
