//! Writes the stubs from a descriptor set: `generate SET OUT`.

use prost::Message as _;
use std::path::{Path, PathBuf};

const CONFORMANCE: &str = "imgd.conformance.v1";

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args_os().skip(1).map(PathBuf::from);
    let (Some(set), Some(out)) = (arguments.next(), arguments.next()) else {
        return Err("usage: generate SET OUT".into());
    };
    let set = prost_types::FileDescriptorSet::decode(std::fs::read(set)?.as_slice())?;
    let api = prost_types::FileDescriptorSet {
        file: set.file.iter().filter(|file| file.package() != CONFORMANCE).cloned().collect(),
    };
    write(&out.join("src/gen"), |build| build.build_server(false).compile_fds(api.clone()))?;
    write(&out.join("conformance/src/gen"), |build| {
        build
            .build_client(false)
            .build_server(false)
            .extern_path(".imgd.v1", "::imgd_client::v1")
            .compile_fds(set)
    })?;
    // The servers that tests script.
    write(&out.join("tests/gen"), |build| {
        build
            .build_client(false)
            .generate_default_stubs(true)
            .extern_path(".imgd.v1", "::imgd_client::v1")
            .compile_fds(api)
    })
}

fn write(
    out: &Path,
    compile: impl FnOnce(tonic_prost_build::Builder) -> std::io::Result<()>,
) -> Result<(), Box<dyn std::error::Error>> {
    std::fs::create_dir_all(out)?;
    compile(tonic_prost_build::configure().out_dir(out))?;
    Ok(())
}
