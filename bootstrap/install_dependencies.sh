#!/bin/bash
# The bootstrap action of a cluster: installs on this node what the job imports, with a Python of its own to run it.
#
#     install_dependencies.sh s3://BUCKET/dependencies.tgz SHA256 /opt/fruits
#
# Nothing is asked of the internet: the archive comes from S3, the Python is EMR's own, PySpark is Spark's.
# FOLDER/bin/python finds these packages before any that the system has. A folder that holds this archive already is
# left as it is. EMR keeps what is said here (LOGS/CLUSTER/node/INSTANCE/bootstrap-actions/1/stderr.gz), and a failure
# here ends the cluster.
set -euo pipefail

say() { echo "install_dependencies: $*" >&2; }
fail() {
  say "error: $*"
  exit 1
}

[ $# = 3 ] || fail "usage: install_dependencies.sh ARCHIVE_ADDRESS SHA256 FOLDER; there were $# arguments"
address=$1 sha256=$2 folder=$3
[[ $sha256 =~ ^[0-9a-f]{64}$ ]] || fail "$sha256 is no SHA-256 in hexadecimal digits"
marker=$folder/.sha256

if [ "$(cat "$marker" 2>/dev/null)" = "$sha256" ]; then
  say "$folder holds this archive already"
  exit 0
fi

# The archive is made for this version; the system's python3 may be another.
python=$(command -v python3.11) || fail "there is no python3.11 on this node: use a release of EMR that has it"

archive=$(mktemp)
trap 'rm -f "$archive"' EXIT
aws s3 cp --only-show-errors "$address" "$archive" >&2 ||
  fail "cannot get $address: the role of the nodes needs s3:GetObject on it, and the subnet a way to S3"
found=$(sha256sum "$archive" | cut -d ' ' -f 1)
[ "$found" = "$sha256" ] ||
  fail "$address is not the archive that was deployed: its SHA-256 is $found, not $sha256; deploy again (make deploy)"

# /opt is root's; EMR runs this as a user who may become root.
mkdir -p "$folder" 2>/dev/null || sudo -n install -d -o "$(id -un)" "$folder" || fail "cannot make $folder"
find "$folder" -mindepth 1 -delete
"$python" -m venv --without-pip "$folder" || fail "$python cannot make a virtual environment in $folder"
packages=$("$folder/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
tar -xzf "$archive" --no-same-owner -C "$packages" || fail "cannot unpack $address into $packages: is the disk full?"
# What the image lacks shows here, with a name, and not in the middle of the job.
"$folder/bin/python" -I -c 'import ai_edge_litert.interpreter, boto3, numpy, obstore, pandas, PIL.Image, pyarrow' ||
  fail "what $address holds does not work with $python on this node"
# YARN's containers run as another user.
chmod -R a+rX "$folder"
echo "$sha256" >"$marker"
say "installed $address in $folder, in $SECONDS s"
