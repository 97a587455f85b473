//! The stand-in for the driver's library, compiled for one test and steered by its own file.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

/// A library of one test.
pub(crate) struct Shim {
    folder: TempDir,
}

impl Shim {
    /// Compiles the library and gives it this configuration.
    pub(crate) fn with(config: &str) -> Self {
        let shim = Self { folder: TempDir::new().unwrap() };
        shim.configure(&Self::fixture(config));
        shim.compile();
        shim
    }

    /// A configuration of the fixtures.
    pub(crate) fn fixture(name: &str) -> String {
        fs::read_to_string(fixtures().join(name)).unwrap()
    }

    /// Where the library is.
    pub(crate) fn library(&self) -> OsString {
        self.folder.path().join("libnvidia-ml.so.1").into_os_string()
    }

    /// Gives the library another configuration at once.
    pub(crate) fn configure(&self, config: &str) {
        let next = self.folder.path().join("next.conf");
        fs::write(&next, config).unwrap();
        fs::rename(next, self.config()).unwrap();
    }

    /// Adds lines for the last GPU.
    pub(crate) fn append(&self, lines: &str) {
        let config = fs::read_to_string(self.config()).unwrap();
        self.configure(&format!("{config}\n{lines}"));
    }

    fn config(&self) -> PathBuf {
        self.folder.path().join("shim.conf")
    }

    /// The library asks the environment for its file. Tests share one environment, so each library asks a function
    /// of its own instead.
    fn compile(&self) {
        let path = self.config();
        let answer = self.folder.path().join("config_path.c");
        let source = format!(
            "char *shim_config_path(const char *name) {{ (void)name; return \"{}\"; }}\n",
            path.display()
        );
        fs::write(&answer, source).unwrap();
        let status = Command::new("cc")
            .args(["-std=c11", "-O1", "-fPIC", "-shared", "-pthread", "-fvisibility=hidden"])
            .arg("-Dgetenv=shim_config_path")
            .arg("-o")
            .arg(self.library())
            .arg(fixtures().join("nvml_shim.c"))
            .arg(answer)
            .status()
            .unwrap();
        assert!(status.success(), "cc failed");
    }
}

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/nvml")
}
