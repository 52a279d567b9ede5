{{/*
Annotations by which checkov skips checks of an object, each with its reason. A reason without "=".
Called with a list of their numbers: (list 11 40).
*/}}
{{- define "mautic.skips" -}}
{{- $reasons := dict
  "8" "it serves nothing, and ends when it fails"
  "9" "it serves nothing, so nobody waits for it to be ready"
  "11" "requests share out a busy processor; a limit would slow a page while the node idles"
  "35" "PHP has the address of its sessions, with the password, from a variable; all else is files"
  "40" "33 and 999 are the users of Debian's and the official images; no pod mounts files of its node"
-}}
{{- range . }}
checkov.io/skip{{ . }}: CKV_K8S_{{ . }}={{ get $reasons (toString .) }}
{{- end }}
{{- end }}
