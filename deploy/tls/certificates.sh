#!/usr/bin/env bash
# Creates certificates with which the machines of a cluster encrypt their connections: certificates.sh ADDRESS...
# Give every address in cluster.yaml, the head's too. The files are written to certificates/ next to this script, and
# cluster.yaml copies them to the machines. After creating new ones, run `ray down` and `ray up`. All machines share one
# key. The authority's own key is not kept, so nobody can issue more certificates.
set -euo pipefail
[ $# -gt 0 ] || { sed -n '2,5s/^# //p' "$0" >&2; exit 2; }
umask 077
folder=$(cd "$(dirname "$0")" && pwd)/certificates
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

names=DNS:localhost,IP:127.0.0.1
for address in "$@"; do
  case $address in
    *[!0-9.]*) names+=,DNS:$address ;;
    *) names+=,IP:$address ;;
  esac
done
openssl req -x509 -newkey rsa:3072 -noenc -days 825 -subj '/CN=kdh-ray cluster authority' \
  -keyout "$work/ca.key" -out "$work/ca.crt" 2> /dev/null
openssl req -newkey rsa:3072 -noenc -subj '/CN=kdh-ray cluster' -keyout "$work/node.key" -out "$work/node.csr" 2> /dev/null
openssl x509 -req -in "$work/node.csr" -CA "$work/ca.crt" -CAkey "$work/ca.key" -CAcreateserial -days 825 \
  -extfile <(printf 'subjectAltName=%s\nextendedKeyUsage=serverAuth,clientAuth\n' "$names") -out "$work/node.crt" 2> /dev/null
mkdir -p "$folder"
cp "$work/ca.crt" "$work/node.crt" "$work/node.key" "$folder/"
echo "$folder: valid for $names, 825 days"
