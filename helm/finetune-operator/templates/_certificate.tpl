{{/* Files of a Secret, base64: those that are there, else an authority and its certificate for ten years, made once.
Of: root, secret (its name), hosts. */}}
{{- define "finetune.certificateFiles" -}}
{{- $known := (lookup "v1" "Secret" .root.Release.Namespace .secret).data }}
{{- if $known }}
{{- toYaml $known }}
{{- else }}
{{- $authority := genCA (printf "%s-ca" .secret) 3650 }}
{{- $signed := genSignedCert (first .hosts) nil .hosts 3650 $authority }}
{{- toYaml (dict "ca.crt" ($authority.Cert | b64enc) "tls.crt" ($signed.Cert | b64enc) "tls.key" ($signed.Key | b64enc)) }}
{{- end }}
{{- end -}}

{{/* The Secret with these files, or the Certificate from which cert-manager makes and renews it.
Of: root, secret, hosts, certManager, files. */}}
{{- define "finetune.certificate" -}}
{{- if .certManager.enabled }}
apiVersion: cert-manager.io/v1
kind: Certificate
metadata:
  name: {{ .secret }}
  namespace: {{ .root.Release.Namespace }}
  labels: {{- include "finetune.labels" .root | nindent 4 }}
spec:
  secretName: {{ .secret }}
  dnsNames: {{- toYaml .hosts | nindent 4 }}
  issuerRef: {{- toYaml .certManager.issuerRef | nindent 4 }}
{{- else }}
apiVersion: v1
kind: Secret
type: kubernetes.io/tls
metadata:
  name: {{ .secret }}
  namespace: {{ .root.Release.Namespace }}
  labels: {{- include "finetune.labels" .root | nindent 4 }}
data: {{- toYaml .files | nindent 2 }}
{{- end }}
{{- end -}}
