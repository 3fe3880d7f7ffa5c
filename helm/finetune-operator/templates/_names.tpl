{{/* Names, labels and images that several manifests share. */}}

{{- define "finetune.name" -}}
{{- printf "%s" (ternary .Release.Name (printf "%s-%s" .Release.Name .Chart.Name) (contains .Chart.Name .Release.Name)) | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "finetune.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "finetune.labels" -}}
{{ include "finetune.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end -}}

{{- define "finetune.account" -}}
{{- .Values.serviceAccount.name | default (ternary (include "finetune.name" .) "default" .Values.serviceAccount.create) -}}
{{- end -}}

{{- define "finetune.image" -}}
{{- with .Values.image -}}
{{ .repository }}{{ if .digest }}@{{ .digest }}{{ else }}:{{ .tag | default $.Chart.AppVersion }}{{ end }}
{{- end -}}
{{- end -}}

{{- define "finetune.intakeHost" -}}
{{- printf "%s.%s.svc" (include "finetune.name" .) .Release.Namespace -}}
{{- end -}}

{{- define "finetune.intakeUrl" -}}
{{- $scheme := ternary "https" "http" .Values.intake.tls.enabled }}
{{- $url := .Values.intake.url | default (printf "%s://%s:%v" $scheme (include "finetune.intakeHost" .) .Values.intake.port) -}}
{{- if and .Values.intake.tls.enabled (hasPrefix "http://" $url) }}
{{- fail "intake.url: is http://, and the intake speaks TLS; write https://, or intake.tls.enabled: false" }}
{{- end }}
{{- $url }}
{{- end -}}

{{/* Names under which the pods reach it. */}}
{{- define "finetune.intakeHosts" -}}
{{- $ours := include "finetune.intakeHost" . }}
{{- $asked := (urlParse (include "finetune.intakeUrl" .)).hostname }}
{{- toYaml (list $asked $ours (printf "%s.cluster.local" $ours) | uniq) }}
{{- end -}}

{{- define "finetune.intakeSecret" -}}
{{- .Values.intake.tls.secretName | default (printf "%s-intake" (include "finetune.name" .)) -}}
{{- end -}}
