"""Where a person looks next: pages of the AWS console.

[unverified] The forms of these addresses: no page documents them (docs/unverified.md).
"""

from urllib.parse import quote

__all__ = ["dashboard", "model_version", "report", "report_key"]


def model_version(region: str, group: str, version: int) -> str:
    """A version's page in the registry, as SageMaker Studio shows it."""
    page = f"#/model-registry/{quote(group, errors='replace')}/{version}"
    return f"{_console(region)}/sagemaker/home?region={region}{page}"


def dashboard(region: str, name: str = "") -> str:
    """A CloudWatch dashboard; the list of them without a name."""
    page = f"/dashboard/{quote(name)}" if name else ""
    return f"{_console(region)}/cloudwatch/home?region={region}#dashboards{page}"


def report(region: str, bucket: str, group: str, version: int) -> str:
    """A release's report in the bucket of reports."""
    key = quote(report_key(group, version, "html"), errors="replace")
    return f"{_console(region)}/s3/object/{bucket}?region={region}&prefix={key}"


def report_key(group: str, version: int, kind: str) -> str:
    """Where a release's report lies in the bucket: `churn/12/report.html`, or `.json`."""
    return f"{group}/{version}/report.{kind}"


def _console(region: str) -> str:
    domain = "console.aws.amazon.com"
    if region.startswith("us-gov-"):
        domain = "console.amazonaws-us-gov.com"
    elif region.startswith("cn-"):
        domain = "console.amazonaws.cn"
    return f"https://{region}.{domain}"
