#!/bin/sh
# build.sh SOURCE.tar.xz CONFIG OUT: builds a kernel for arm64 with what CONFIG
# says, and lays it out in OUT as a package of Debian's would. OUT/btf is its type
# information, which the kernel itself does not have. Run in an empty directory.
set -eu
source=$1 config=$2 out=$3
export ARCH=arm64 CROSS_COMPILE=aarch64-linux-gnu- KBUILD_OUTPUT="$PWD/build"
export KBUILD_BUILD_TIMESTAMP='2024-08-10 00:00:00 UTC' KBUILD_BUILD_USER=bpfd KBUILD_BUILD_HOST=bpfd
mkdir source build
tar -xf "$source" -C source --strip-components=1
cd source
make -s allnoconfig
./scripts/kconfig/merge_config.sh -m -O "$KBUILD_OUTPUT" "$KBUILD_OUTPUT/.config" "$config" >/dev/null
make -s olddefconfig
grep '^CONFIG_\|^# CONFIG_.* is not set' "$config" | while read -r line; do
	case $line in
	'#'*) ! grep -q "^$(echo "$line" | cut -d' ' -f2)=" "$KBUILD_OUTPUT/.config" ;;
	*) grep -qxF "$line" "$KBUILD_OUTPUT/.config" ;;
	esac || { echo "this kernel cannot have: $line" >&2; exit 1; }
done
nice make -s -j"$(nproc)" Image
release=$(make -s kernelrelease)
mkdir -p "$out/boot" "$out/lib/modules/$release"
cp "$KBUILD_OUTPUT/arch/arm64/boot/Image" "$out/boot/vmlinuz-$release"
cp "$KBUILD_OUTPUT/modules.builtin" "$out/lib/modules/$release/"
nice pahole --btf_encode_detached="$out/btf" "$KBUILD_OUTPUT/vmlinux"
