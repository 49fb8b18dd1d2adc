"""The records of dialect A, field by field, in the order in which the province's own clients send them.

Source: the public Shandong integrations. Whatever travels is text.
"""

from __future__ import annotations

from typing import Literal

from protocols.ratings import Case, Rating

from ..codes import Codes, china_time, tag_codes, task_code, task_handle_item

Record = dict[str, str]
Role = Literal["case", "offline", "online"]
"""办件服务, 线下评价, 线上评价."""


class Records:
    """Cases and ratings as one province's records."""

    def __init__(self, codes: Codes, data_source: str, sends_service_number: bool):
        self._codes = codes
        self._data_source = data_source
        self._sends_service_number = sends_service_number

    def area(self, case: Case) -> str:
        """The county's six digits and six zeros."""
        area = self._codes.area(case)
        return area and area + "000000"

    def case(self, case: Case) -> Record:
        """办件服务: one service of one case."""
        code, area = self._codes.code, self.area(case)
        certificate_type = code("userPageType", case.certificate_type)
        project_type = code("projectType", case.case_type)
        return {
            "areaCode": area,
            "deptCode": case.dept_code,
            "taskType": self._codes.task_type(case),
            "taskCode": task_code(case),
            "proTaskCode": task_code(case),
            "taskHandleItem": task_handle_item(case),
            "subMatter": case.item_theme,
            "taskName": case.item_name,
            "proTaskName": case.item_name,
            "projectNo": self._codes.case_no(case),
            "proProjectNo": self._codes.case_no(case),
            "projectName": case.case_name,
            "proStatus": code("proStatus", case.status),
            "proDepart": case.dept_name,
            "mobile": case.mobile,
            "userName": case.applicant_name,
            "creditNum": case.certificate_no,
            "creditType": certificate_type,
            "userProp": code("userProp", case.applicant_type),
            "acceptDate": china_time(case.accepted_ms),
            # Halls do not tell us the promised and the legal time limits, and the province does not insist.
            "promiseDay": "",
            "promiseType": "",
            "anticipateDay": "",
            "anticipateType": "",
            "deptName": case.dept_name,
            "proChannel": code("proChannel", case.channel),
            "promiseTime": project_type,
            "certKey" if case.channel == "online" else "certkeyGOV": case.certificate_no,
            "orgcode": f"{area}_{case.dept_code}",
            "orgName": case.dept_name,
            "proManager": case.clerk_name,
            "userPageType": certificate_type,
            "handleUserName": case.handler_name,
            "handleUserPageType": code("userPageType", case.handler_certificate_type),
            "handleUserPageCode": case.handler_certificate_no,
            "serviceName": case.service_name,
            **({"serviceNumber": str(case.service_number)} if self._sends_service_number else {}),
            "serviceTime": china_time(case.service_ms),
            "dataSource": self._data_source,
            "projectType": project_type,
            "resultDate": china_time(case.finished_ms),
        }

    def offline(self, rating: Rating, case: Case) -> Record:
        """线下评价: what was given in a hall, at the time at which it was pressed."""
        return {
            "taskType": self._codes.task_type(case),
            "projectNo": self._codes.case_no(case),
            "satisfaction": self._codes.level(rating),
            "pf": self._codes.code("pf", rating.channel),
            "name": case.applicant_name,
            "evalDetail": tag_codes(rating),
            "writingEvaluation": rating.text,
            "assessTime": china_time(rating.pressed_ms),
            "serviceNumber": str(rating.service_number),
        }

    def online(self, rating: Rating, case: Case) -> Record:
        """线上评价: what was given on a website, a telephone or by a code; the shape of the national record."""
        code = self._codes.code
        return {
            "projectNo": self._codes.case_no(case),
            "pf": code("pf", rating.channel),
            "deptCode": case.dept_code,
            "taskCode": task_code(case),
            "taskHandleItem": task_handle_item(case),
            "taskName": case.item_name,
            "subMatter": case.item_theme,
            "proStatus": code("proStatus", case.status),
            "proDepart": case.dept_name,
            "certKey": case.certificate_no,
            "userName": case.applicant_name,
            "userProp": code("userProp", case.applicant_type),
            "userPageType": code("userPageType", case.certificate_type),
            "handleUserName": case.handler_name,
            "handleUserPageType": code("userPageType", case.handler_certificate_type),
            "handleUserPageCode": case.handler_certificate_no,
            "satisfaction": self._codes.level(rating),
            "evalDetail": tag_codes(rating),
            "serviceNumber": str(rating.service_number),
            "writingEvaluation": rating.text,
            "assessTime": china_time(rating.pressed_ms),
            # 评价次数: a first rating. A second one (追评) is the province's own business with the citizen.
            "assessNumber": "1",
            "dataSource": self._data_source,
            "promisetime": code("projectType", case.case_type),
            "acceptDate": china_time(case.accepted_ms),
        }
